# SPDX-License-Identifier: Apache-2.0
#
# `make install DESTDIR=… PREFIX=…`: header, both libraries, pkg-config file,
# command, man page, licence.
install(TARGETS exeunt_static exeunt_shared
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/exeunt.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES LICENSE NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(TARGET exeunt)
  install(TARGETS exeunt RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# Static linking needs what the shared library brings along by itself.
set(pc_requires "jansson, zlib, libmd, libprotobuf-c")
set(pc_libs "-lm -lpthread")
if(EX_ONEDNN)
  set(pc_libs "-ldnnl ${OpenMP_C_FLAGS} ${pc_libs}")
endif()
if(SPNG_FOUND)
  string(APPEND pc_requires ", spng")
endif()
if(TURBOJPEG_FOUND)
  string(APPEND pc_requires ", libturbojpeg")
endif()
configure_file(cmake/exeunt.pc.in exeunt.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/exeunt.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# The man page is what the command's own tables say.
if(SCDOC AND TARGET exeunt)
  set(man_page ${CMAKE_BINARY_DIR}/exeunt.1)
  add_custom_command(OUTPUT ${man_page} DEPENDS exeunt VERBATIM
    COMMAND sh -c "'$<TARGET_FILE:exeunt>' --manual | '${SCDOC}' >'${man_page}'")
  add_custom_target(man ALL DEPENDS ${man_page})
  install(FILES ${man_page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
