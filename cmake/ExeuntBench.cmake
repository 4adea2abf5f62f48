# SPDX-License-Identifier: Apache-2.0
#
# What bench/run calls: build/bench/bench_*.
function(exeunt_add_bench name)
  list(TRANSFORM ARGN PREPEND ${CMAKE_SOURCE_DIR}/bench/)
  add_executable(${name} ${ARGN})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
  target_link_libraries(${name} PRIVATE exeunt_flags exeunt_static exeunt_links exeunt_backend)
endfunction()

exeunt_add_bench(bench_model bench_model.c bench_worker.c)
exeunt_add_bench(bench_exeunt bench_exeunt.c bench_exeunt_train.c bench_worker.c)
exeunt_add_bench(bench_steps bench_steps.c bench_worker.c)
exeunt_add_bench(bench_onnxruntime bench_onnxruntime.c bench_worker.c)
target_link_libraries(bench_onnxruntime PRIVATE ${CMAKE_DL_LIBS})
