# SPDX-License-Identifier: Apache-2.0
#
# Compiler flags, in one interface target that every own source uses.
# -fno-math-errno: sqrt and friends may become instructions; nothing reads errno.
# No -march=native: a binary runs on every x86-64; oneDNN dispatches by itself
# and our own loops use function multiversioning where it pays.
add_library(exeunt_flags INTERFACE)
target_compile_definitions(exeunt_flags INTERFACE _POSIX_C_SOURCE=200809L)
target_compile_options(exeunt_flags INTERFACE -Wall -Wextra -Wpedantic -fno-math-errno)
if(EX_WERROR)
  target_compile_options(exeunt_flags INTERFACE -Werror)
endif()

if(EX_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "EX_FUZZ: the compiler is ${CMAKE_C_COMPILER_ID}; libFuzzer needs clang")
  endif()
  if(NOT SANITIZE)
    set(SANITIZE "address,undefined")
  endif()
  target_compile_options(exeunt_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(SANITIZE)
  set(sanitize_flags -fsanitize=${SANITIZE} -fno-omit-frame-pointer -g)
  if(SANITIZE MATCHES "undefined")
    list(APPEND sanitize_flags -fno-sanitize-recover=undefined)
  endif()
  target_compile_options(exeunt_flags INTERFACE ${sanitize_flags})
  target_link_options(exeunt_flags INTERFACE -fsanitize=${SANITIZE})
endif()
