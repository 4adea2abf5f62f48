# SPDX-License-Identifier: Apache-2.0
#
# What Exeunt links. Everything is found before anything is compiled, so that
# a missing package is the first thing a newcomer reads. `tools/setup` installs
# the Debian packages that are named here.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.11)
pkg_check_modules(LIBMD REQUIRED IMPORTED_TARGET libmd)
# ONNX files: the format's own description, made into C at build time.
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
find_program(PROTOC_C protoc-c REQUIRED)
find_path(ONNX_PROTO_DIR onnx.proto PATH_SUFFIXES onnx REQUIRED)

if(EX_ONEDNN)
  # The OpenMP run time is oneDNN's: we link it to bound its threads.
  find_package(OpenMP REQUIRED COMPONENTS C)
  # Not find_package(dnnl): Debian's package file asks for OpenCL headers too.
  find_library(DNNL_LIBRARY dnnl REQUIRED)
  find_path(DNNL_INCLUDE_DIR dnnl.h REQUIRED)
endif()

# Optional: without them PNG or JPEG folders are refused with a clear message.
pkg_check_modules(SPNG IMPORTED_TARGET spng)
pkg_check_modules(TURBOJPEG IMPORTED_TARGET libturbojpeg)

# Optional: without it there is no `exeunt serve`. Its licence is the LGPL, so it is
# linked dynamically, by the command alone.
pkg_check_modules(MICROHTTPD IMPORTED_TARGET libmicrohttpd>=0.9.75)
# Optional: without it a server has no other to go on behind a cut.
pkg_check_modules(CURL IMPORTED_TARGET libcurl>=7.87)

if(EX_TESTS)
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
endif()
find_program(SCDOC scdoc)
