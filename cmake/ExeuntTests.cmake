# SPDX-License-Identifier: Apache-2.0
#
# The tests, globbed by name. Exit status 77 means skipped (a reference is
# absent); `.ci/run` fails on a skip that .ci/expected-skips does not name.
#
#   tests/test_*.c    against the library, internal headers allowed
#   tests/double_*.c  against the double-precision oracle
#   tests/cli_*.sh    drive the command: bash, EXEUNT=<command>
#   tests/tree_*.sh   look at the source tree alone
#   tests/build_*.sh  look at what was built (BUILD=<build directory>)
#   *_slow.*          carry the label `slow`
#
# Each runs in a directory of its own below build/work, emptied before, with
# SRC=<source directory> in the environment.
file(GLOB unit_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/test_*.c)
file(GLOB double_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/double_*.c)
file(GLOB script_tests CONFIGURE_DEPENDS
     ${CMAKE_SOURCE_DIR}/tests/cli_*.sh
     ${CMAKE_SOURCE_DIR}/tests/tree_*.sh
     ${CMAKE_SOURCE_DIR}/tests/build_*.sh)

function(exeunt_add_test name label)
  set(labels ${label})
  set(timeout 120)
  if(name MATCHES "_slow$")
    list(APPEND labels slow)
    set(timeout 600)
  endif()
  if(SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "Debug")
    math(EXPR timeout "${timeout} * 5")
  endif()
  add_test(NAME ${name} COMMAND
    ${CMAKE_SOURCE_DIR}/tests/in_empty_directory ${CMAKE_BINARY_DIR}/work/${name} ${ARGN})
  # Tests share the processors: threads that spin at a barrier would keep the
  # other tests' threads from ever reaching theirs.
  set(environment "SRC=${CMAKE_SOURCE_DIR}" "BUILD=${CMAKE_BINARY_DIR}" "OMP_WAIT_POLICY=passive")
  if(TARGET exeunt)
    list(APPEND environment "EXEUNT=$<TARGET_FILE:exeunt>")
  endif()
  if(SANITIZE)
    list(APPEND environment
      "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0"
      "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp"
      "UBSAN_OPTIONS=print_stacktrace=1")
  endif()
  set_tests_properties(${name} PROPERTIES
    LABELS "${labels}" TIMEOUT ${timeout} SKIP_RETURN_CODE 77
    ENVIRONMENT "${environment}")
endfunction()

if(NOT TARGET exeunt_serve)
  list(FILTER unit_tests EXCLUDE REGEX "/test_serve[^/]*$")
  list(FILTER script_tests EXCLUDE REGEX "/cli_serve[^/]*$")
endif()

foreach(source ${unit_tests} ${double_tests})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}) # "tests/…"
  if(name MATCHES "^double_")
    target_link_libraries(${name} PRIVATE exeunt_flags exeunt_double PkgConfig::CMOCKA)
    exeunt_add_test(${name} double $<TARGET_FILE:${name}>)
  else()
    target_link_libraries(${name} PRIVATE
      exeunt_flags exeunt_static exeunt_links exeunt_backend PkgConfig::CMOCKA)
    if(name MATCHES "^test_serve")
      target_link_libraries(${name} PRIVATE exeunt_serve)
    endif()
    exeunt_add_test(${name} unit $<TARGET_FILE:${name}>)
  endif()
endforeach()

foreach(source ${script_tests})
  get_filename_component(name ${source} NAME_WE)
  if(name MATCHES "^(tree|build)_")
    exeunt_add_test(${name} ${CMAKE_MATCH_1} bash ${source})
  elseif(TARGET exeunt)
    exeunt_add_test(${name} cli bash ${source})
  endif()
endforeach()
