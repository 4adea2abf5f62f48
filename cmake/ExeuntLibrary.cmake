# SPDX-License-Identifier: Apache-2.0
#
# The library, its double-precision oracle and the command. A folder may be
# empty; a new file is seen at the next build (CONFIGURE_DEPENDS).
file(GLOB library_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/*/*.c)
file(GLOB cli_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/cli/*.c)
list(FILTER library_sources EXCLUDE REGEX "/src/(cli|serve)/[^/]*$")

# The loops of generated code are written out by src/export/.
include(ExeuntEmbed)
file(GLOB kernels CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}
     ${CMAKE_SOURCE_DIR}/src/export/kernels/*.h)
exeunt_embed(cmake/export_kernels.c.in ${CMAKE_BINARY_DIR}/export_kernels.c ${kernels})
list(APPEND library_sources ${CMAKE_BINARY_DIR}/export_kernels.c)

# The reader of ONNX messages, from the description in Debian's libonnx-dev. It
# is nobody's source here: its warnings are not looked at.
set(onnx_dir ${CMAKE_BINARY_DIR}/generated)
set(onnx_code ${onnx_dir}/onnx.pb-c.c ${onnx_dir}/onnx.pb-c.h)
file(MAKE_DIRECTORY ${onnx_dir})
add_custom_command(OUTPUT ${onnx_code} DEPENDS ${ONNX_PROTO_DIR}/onnx.proto VERBATIM
  COMMAND ${PROTOC_C} --proto_path=${ONNX_PROTO_DIR} --c_out=${onnx_dir} onnx.proto)
add_custom_target(exeunt_onnx_code DEPENDS ${onnx_code})
set_source_files_properties(${onnx_dir}/onnx.pb-c.c PROPERTIES COMPILE_OPTIONS -w)
list(APPEND library_sources ${onnx_dir}/onnx.pb-c.c)

# The only files that know oneDNN carry these prefixes (tools/check-layers).
set(portable_sources ${library_sources})
list(FILTER portable_sources EXCLUDE REGEX "/src/graph/(onednn|fast_)[^/]*$")

# Without GNU extensions gcc does not contract a·b + c by itself, which halves
# the speed of these loops; their results are not promised to the last bit.
foreach(set base avx2 avx512)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/graph/fast_loops_${set}.c
    PROPERTIES COMPILE_OPTIONS -ffp-contract=fast)
endforeach()

# Links everything that the code of the library calls.
add_library(exeunt_links INTERFACE)
target_include_directories(exeunt_links INTERFACE
  ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
target_link_libraries(exeunt_links INTERFACE
  PkgConfig::JANSSON PkgConfig::LIBMD PkgConfig::PROTOBUF_C ZLIB::ZLIB Threads::Threads m)
target_include_directories(exeunt_links SYSTEM INTERFACE ${onnx_dir})
foreach(codec SPNG TURBOJPEG)
  if(${codec}_FOUND)
    target_link_libraries(exeunt_links INTERFACE PkgConfig::${codec})
    target_compile_definitions(exeunt_links INTERFACE EX_HAVE_${codec})
  endif()
endforeach()

add_library(exeunt_backend INTERFACE)
if(EX_ONEDNN)
  target_link_libraries(exeunt_backend INTERFACE ${DNNL_LIBRARY} OpenMP::OpenMP_C)
  target_include_directories(exeunt_backend SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
  set(product_sources ${library_sources})
else()
  target_compile_definitions(exeunt_backend INTERFACE EX_NO_ONEDNN)
  set(product_sources ${portable_sources})
endif()

# A library of no files is an error to CMake; this keeps the first build whole.
set(seed ${CMAKE_BINARY_DIR}/seed.c)
file(CONFIGURE OUTPUT ${seed} CONTENT
  "/* keeps an otherwise empty library legal */\nextern int ex__seed;\nint ex__seed = 1;\n")

add_library(exeunt_objects OBJECT ${product_sources} ${seed})
add_dependencies(exeunt_objects exeunt_onnx_code)
target_link_libraries(exeunt_objects
  PUBLIC exeunt_links exeunt_backend
  PRIVATE exeunt_flags)

add_library(exeunt_static STATIC)
add_library(exeunt_shared SHARED)
foreach(library exeunt_static exeunt_shared)
  set_target_properties(${library} PROPERTIES OUTPUT_NAME exeunt)
  target_link_libraries(${library} PRIVATE exeunt_objects)
  target_include_directories(${library} INTERFACE
    $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>)
endforeach()
# Until 1.0 every minor version may change the ABI, so it is part of the name.
set_target_properties(exeunt_shared PROPERTIES
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_link_options(exeunt_shared PRIVATE -Wl,--no-undefined -Wl,--exclude-libs,ALL)
if(SANITIZE)
  target_link_options(exeunt_shared PRIVATE -Wl,-z,undefs)
endif()

# The server, for the command: who links the library needs no HTTP.
if(MICROHTTPD_FOUND)
  file(GLOB serve_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/serve/*.c)
  file(GLOB serve_assets CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}
       ${CMAKE_SOURCE_DIR}/src/serve/assets/*)
  # The dashboard's charts: uPlot, which `tools/setup full` brings. Without it the
  # page has figures and no charts, and says so.
  file(GLOB uplot CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}
       ${CMAKE_SOURCE_DIR}/build-node/node_modules/uplot/dist/uPlot.iife.min.js
       ${CMAKE_SOURCE_DIR}/build-node/node_modules/uplot/dist/uPlot.min.css
       ${CMAKE_SOURCE_DIR}/build-node/node_modules/uplot/LICENSE)
  list(APPEND serve_assets ${uplot})
  exeunt_embed(cmake/serve_assets.c.in ${CMAKE_BINARY_DIR}/serve_assets.c ${serve_assets})
  add_library(exeunt_serve STATIC ${serve_sources} ${CMAKE_BINARY_DIR}/serve_assets.c)
  target_link_libraries(exeunt_serve
    PUBLIC exeunt_static exeunt_links exeunt_backend PkgConfig::MICROHTTPD PRIVATE exeunt_flags)
  target_compile_definitions(exeunt_serve INTERFACE EX_HAVE_MICROHTTPD)
  if(CURL_FOUND)
    target_link_libraries(exeunt_serve PRIVATE PkgConfig::CURL)
    target_compile_definitions(exeunt_serve PRIVATE EX_HAVE_CURL)
  endif()
endif()

if(EX_TESTS)
  add_library(exeunt_double STATIC EXCLUDE_FROM_ALL ${portable_sources} ${seed})
  add_dependencies(exeunt_double exeunt_onnx_code)
  target_compile_definitions(exeunt_double PUBLIC EX_REAL_IS_DOUBLE EX_NO_ONEDNN)
  target_link_libraries(exeunt_double PUBLIC exeunt_links PRIVATE exeunt_flags)
endif()

if(cli_sources)
  foreach(source ${cli_sources})
    file(STRINGS ${source} main_line REGEX "^int main\\(" LIMIT_COUNT 1)
    if(main_line)
      set(have_main TRUE)
    endif()
  endforeach()
endif()
if(have_main)
  # Recipes and catalogue, so that `exeunt demo` needs no path of the source tree.
  file(GLOB embedded_files CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}
       ${CMAKE_SOURCE_DIR}/recipes/*.json ${CMAKE_SOURCE_DIR}/papers/*.json)
  exeunt_embed(cmake/embedded.c.in ${CMAKE_BINARY_DIR}/embedded.c ${embedded_files})
  add_executable(exeunt ${cli_sources} ${CMAKE_BINARY_DIR}/embedded.c)
  target_link_libraries(exeunt PRIVATE exeunt_flags exeunt_static exeunt_links)
  if(TARGET exeunt_serve)
    target_link_libraries(exeunt PRIVATE exeunt_serve)
  endif()
  add_custom_target(exeunt_commit
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUTPUT=${CMAKE_BINARY_DIR}/commit.h
            -P ${CMAKE_SOURCE_DIR}/cmake/ExeuntCommit.cmake
    BYPRODUCTS ${CMAKE_BINARY_DIR}/commit.h VERBATIM)
  add_dependencies(exeunt exeunt_commit)
  target_include_directories(exeunt PRIVATE ${CMAKE_BINARY_DIR})
endif()
