# SPDX-License-Identifier: Apache-2.0
#
# Puts recipes/*.json and papers/*.json into the command, as C strings in a file
# made at configuration, so that `exeunt demo` needs no path of the source tree.
file(GLOB embedded_files CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}
     ${CMAKE_SOURCE_DIR}/recipes/*.json ${CMAKE_SOURCE_DIR}/papers/*.json)
set(embedded_arrays "")
set(embedded_rows "")
set(index 0)
foreach(file ${embedded_files})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${file})
  file(READ ${CMAKE_SOURCE_DIR}/${file} bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1, " bytes "${bytes}")
  string(APPEND embedded_arrays "static const unsigned char file_${index}[] = {${bytes}0};\n")
  string(APPEND embedded_rows "    {\"${file}\", file_${index}},\n")
  math(EXPR index "${index} + 1")
endforeach()
configure_file(cmake/embedded.c.in ${CMAKE_BINARY_DIR}/embedded.c @ONLY)
