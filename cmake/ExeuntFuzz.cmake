# SPDX-License-Identifier: Apache-2.0
#
# libFuzzer targets: tests/fuzz_NAME.c defines LLVMFuzzerTestOneInput; seeds
# are taken from tests/corpus/NAME/ (`make check` runs each for a minute).
file(GLOB fuzz_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz_*.c)
if(NOT TARGET exeunt_serve)
  list(FILTER fuzz_sources EXCLUDE REGEX "/fuzz_serve[^/]*$")
endif()
foreach(source ${fuzz_sources})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE exeunt_flags exeunt_static exeunt_links exeunt_backend)
  if(name MATCHES "^fuzz_serve")
    target_link_libraries(${name} PRIVATE exeunt_serve)
  endif()
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
endforeach()
