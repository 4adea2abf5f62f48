# SPDX-License-Identifier: Apache-2.0
#
# exeunt_embed(TEMPLATE OUTPUT FILES...): puts files of the tree into a C file made
# at configuration, as strings: @embedded_arrays@ are their bytes, @embedded_rows@
# a table {name, bytes}. So neither command nor library needs a path of the tree.
function(exeunt_embed template output)
  set(embedded_arrays "")
  set(embedded_rows "")
  set(index 0)
  foreach(file ${ARGN})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${file})
    file(READ ${CMAKE_SOURCE_DIR}/${file} bytes HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1, " bytes "${bytes}")
    string(APPEND embedded_arrays "static const unsigned char file_${index}[] = {${bytes}0};\n")
    string(APPEND embedded_rows "    {\"${file}\", file_${index}},\n")
    math(EXPR index "${index} + 1")
  endforeach()
  configure_file(${template} ${output} @ONLY)
endfunction()
