/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/onednn: contexts, layouts, the making of operations, and calls.
 *
 * oneDNN looks at the calling thread's OpenMP setting twice: when a primitive
 * is created (how it cuts its work) and when it runs. Both are therefore
 * bracketed, and the caller's setting is restored. Executing on a CPU stream
 * is synchronous with OpenMP, and the stream holds no state, so that several
 * threads may use it.
 */
#include "graph/onednn.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "graph/onednn_object.h"

enum ex_status ex__dnn_check(dnnl_status_t status, const char *what, struct ex_error *err) {
  static const char *const names[] = {
      "success",       "out of memory", "invalid arguments",  "not implemented",
      "iterator ends", "runtime error", "argument not needed"};
  if (status == dnnl_success) return EX_OK;
  if (status == dnnl_out_of_memory) return ex__fail(err, EX_ENOMEM, "oneDNN: out of memory");
  const char *name = (size_t)status < sizeof names / sizeof *names ? names[status] : "unknown";
  enum ex_status code = status == dnnl_unimplemented ? EX_EUNSUPPORTED : EX_EBACKEND;
  return ex__fail(err, code, "oneDNN: %s (%.80s)", name, what);
}

const char *ex__dnn_version(char text[24]) {
  const dnnl_version_t *version = dnnl_version();
  snprintf(text, 24, "%d.%d.%d", version->major, version->minor, version->patch);
  return text;
}

const char *ex__dnn_isa(void) {
  switch (dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_sse41: return "sse41";
    case dnnl_cpu_isa_avx: return "avx";
    case dnnl_cpu_isa_avx2: return "avx2";
    case dnnl_cpu_isa_avx2_vnni: return "avx2_vnni";
    case dnnl_cpu_isa_avx512_core: return "avx512_core";
    case dnnl_cpu_isa_avx512_core_vnni: return "avx512_core_vnni";
    case dnnl_cpu_isa_avx512_core_bf16: return "avx512_core_bf16";
    case dnnl_cpu_isa_avx512_core_amx: return "avx512_core_amx";
    default: return "other";
  }
}

enum ex_status ex__dnn_new(ex_dnn **out, struct ex_error *err) {
  *out = NULL;
  ex_dnn *dnn = ex__calloc(1, sizeof *dnn);
  if (dnn == NULL) return ex__fail(err, EX_ENOMEM, "oneDNN context: out of memory");
  enum ex_status status =
      ex__dnn_check(dnnl_engine_create(&dnn->engine, dnnl_cpu, 0), "engine", err);
  if (status == EX_OK)
    status = ex__dnn_check(dnnl_stream_create(&dnn->stream, dnn->engine, dnnl_stream_default_flags),
                           "stream", err);
  if (status != EX_OK) {
    ex__dnn_free(dnn);
    return status;
  }
  *out = dnn;
  return EX_OK;
}

static void free_op(struct ex_dnn_op *op) {
  if (op->primitive != NULL) dnnl_primitive_destroy(op->primitive);
  if (op->desc != NULL) dnnl_primitive_desc_destroy(op->desc);
  ex__free(op);
}

void ex__dnn_free(ex_dnn *dnn) {
  if (dnn == NULL) return;
  while (dnn->ops != NULL) {
    struct ex_dnn_op *op = dnn->ops;
    dnn->ops = op->next;
    free_op(op);
  }
  while (dnn->layouts != NULL) {
    struct ex_dnn_layout *layout = dnn->layouts;
    dnn->layouts = layout->next;
    ex__free(layout);
  }
  if (dnn->stream != NULL) dnnl_stream_destroy(dnn->stream);
  if (dnn->engine != NULL) dnnl_engine_destroy(dnn->engine);
  ex__free(dnn);
}

int32_t ex__dnn_threads(int32_t threads) {
  int32_t before = omp_get_max_threads();
  if (threads != before) omp_set_num_threads(threads);
  return before;
}

/* ---- layouts ------------------------------------------------------------ */

const ex_dnn_layout *ex__dnn_keep(ex_dnn *dnn, const dnnl_memory_desc_t *desc) {
  struct ex_dnn_layout *layout = ex__calloc(1, sizeof *layout);
  if (layout == NULL) return NULL;
  layout->desc = *desc;
  layout->next = dnn->layouts;
  dnn->layouts = layout;
  return layout;
}

static void copy_dims(int32_t rank, const int64_t *from, dnnl_dims_t to) {
  memset(to, 0, sizeof(dnnl_dims_t));
  for (int32_t i = 0; i < rank; i++) to[i] = from[i];
}

dnnl_memory_desc_t ex__dnn_desc(int32_t rank, const int64_t *dim, dnnl_format_tag_t tag) {
  dnnl_dims_t dims;
  copy_dims(rank, dim, dims);
  dnnl_memory_desc_t desc = {0}; /* stays the zero descriptor if the sizes are refused */
  dnnl_memory_desc_init_by_tag(&desc, rank, dims, dnnl_f32, tag);
  return desc;
}

static dnnl_format_tag_t tag_of(int32_t rank, enum ex_dnn_tag tag) {
  static const dnnl_format_tag_t plain[] = {
      dnnl_format_tag_undef, dnnl_a, dnnl_ab, dnnl_abc, dnnl_abcd, dnnl_abcde};
  switch (tag) {
    case EX_DNN_ANY: return dnnl_format_tag_any;
    case EX_DNN_PLAIN: return plain[rank];
    case EX_DNN_NHWC: return rank == 4 ? dnnl_nhwc : dnnl_format_tag_undef;
    case EX_DNN_NCHW16C: return rank == 4 ? dnnl_nChw16c : dnnl_format_tag_undef;
    case EX_DNN_NCHW8C: return rank == 4 ? dnnl_nChw8c : dnnl_format_tag_undef;
    case EX_DNN_TRANSPOSED: return rank == 2 ? dnnl_ba : dnnl_format_tag_undef;
    case EX_DNN_HWIO: return rank == 4 ? dnnl_hwio : dnnl_format_tag_undef;
  }
  return dnnl_format_tag_undef;
}

static enum ex_status keep_layout(ex_dnn *dnn, const dnnl_memory_desc_t *desc,
                                  const ex_dnn_layout **out, struct ex_error *err) {
  *out = ex__dnn_keep(dnn, desc);
  return *out != NULL ? EX_OK : ex__fail(err, EX_ENOMEM, "oneDNN layout: out of memory");
}

enum ex_status ex__dnn_layout_new(ex_dnn *dnn, int32_t rank, const int64_t *dim,
                                  enum ex_dnn_tag tag, const ex_dnn_layout **out,
                                  struct ex_error *err) {
  *out = NULL;
  if (rank < 1 || rank > EX_DNN_MAX_RANK)
    return ex__fail(err, EX_ESHAPE, "oneDNN layout: rank %d; must be in [1, %d]", rank,
                    EX_DNN_MAX_RANK);
  dnnl_dims_t dims;
  copy_dims(rank, dim, dims);
  dnnl_memory_desc_t desc;
  DNN_TRY(dnnl_memory_desc_init_by_tag(&desc, rank, dims, dnnl_f32, tag_of(rank, tag)), err);
  return keep_layout(dnn, &desc, out, err);
}

enum ex_status ex__dnn_layout_strided(ex_dnn *dnn, int32_t rank, const int64_t *dim,
                                      const int64_t *stride, const ex_dnn_layout **out,
                                      struct ex_error *err) {
  *out = NULL;
  dnnl_dims_t dims, strides;
  copy_dims(rank, dim, dims);
  copy_dims(rank, stride, strides);
  dnnl_memory_desc_t desc;
  DNN_TRY(dnnl_memory_desc_init_by_strides(&desc, rank, dims, dnnl_f32, strides), err);
  return keep_layout(dnn, &desc, out, err);
}

size_t ex__dnn_layout_bytes(const ex_dnn_layout *layout) {
  return dnnl_memory_desc_get_size(&layout->desc);
}

bool ex__dnn_layout_equal(const ex_dnn_layout *a, const ex_dnn_layout *b) {
  return dnnl_memory_desc_equal(&a->desc, &b->desc) != 0;
}

const char *ex__dnn_layout_name(const ex_dnn_layout *layout) {
  static const struct {
    enum ex_dnn_tag tag;
    const char *name;
  } known[] = {{EX_DNN_PLAIN, "plain"},
               {EX_DNN_NHWC, "nhwc"},
               {EX_DNN_NCHW16C, "nChw16c"},
               {EX_DNN_NCHW8C, "nChw8c"}};
  const dnnl_memory_desc_t *desc = &layout->desc;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    dnnl_format_tag_t tag = tag_of(desc->ndims, known[i].tag);
    if (tag == dnnl_format_tag_undef) continue;
    dnnl_memory_desc_t other = ex__dnn_desc(desc->ndims, desc->dims, tag);
    if (dnnl_memory_desc_equal(desc, &other)) return known[i].name;
  }
  return "other";
}

/* ---- making ------------------------------------------------------------- */

enum ex_status ex__dnn_attr(const struct ex_dnn_post *post, dnnl_primitive_attr_t *out,
                            struct ex_error *err) {
  dnnl_primitive_attr_t attr = NULL;
  dnnl_post_ops_t ops = NULL;
  *out = NULL;
  DNN_TRY(dnnl_primitive_attr_create(&attr), err);
  dnnl_status_t status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
  if (status == dnnl_success) status = dnnl_post_ops_create(&ops);
  if (status == dnnl_success && post != NULL && post->sum)
    status = dnnl_post_ops_append_sum(ops, 1.0F);
  if (status == dnnl_success && post != NULL && post->relu)
    status = dnnl_post_ops_append_eltwise(ops, 1.0F, dnnl_eltwise_relu, 0.0F, 0.0F);
  if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(attr, ops);
  if (ops != NULL) dnnl_post_ops_destroy(ops);
  if (status != dnnl_success) {
    dnnl_primitive_attr_destroy(attr);
    return ex__dnn_check(status, "attributes", err);
  }
  *out = attr;
  return EX_OK;
}

static const char *implementation_of(const_dnnl_primitive_desc_t desc) {
  const char *name = "";
  dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name);
  return name;
}

/* Walks oneDNN's list of implementations, best first. */
static enum ex_status find_implementation(ex_dnn *dnn, const struct ex_dnn_request *request,
                                          const_dnnl_primitive_attr_t attr,
                                          dnnl_primitive_desc_t *out, struct ex_error *err) {
  dnnl_primitive_desc_iterator_t iterator;
  const_dnnl_primitive_desc_t hint = request->hint != NULL ? request->hint->desc : NULL;
  EX_TRY(ex__dnn_check(
      dnnl_primitive_desc_iterator_create(&iterator, request->op_desc, attr, dnn->engine, hint),
      request->what, err));
  dnnl_primitive_desc_t desc = NULL;
  dnnl_status_t status;
  do {
    desc = dnnl_primitive_desc_iterator_fetch(iterator);
    if (desc == NULL || request->admit == NULL ||
        request->admit(implementation_of(desc), request->context))
      break;
    dnnl_primitive_desc_destroy(desc);
    desc = NULL;
    status = dnnl_primitive_desc_iterator_next(iterator);
  } while (status == dnnl_success);
  dnnl_primitive_desc_iterator_destroy(iterator);
  if (desc == NULL)
    return ex__fail(err, EX_EUNSUPPORTED, "oneDNN: no admitted implementation of %s",
                    request->what);
  *out = desc;
  return EX_OK;
}

static const int argument_code[EX_DNN_N_ARGS] = {
    [EX_DNN_SRC] = DNNL_ARG_SRC,
    [EX_DNN_SRC1] = DNNL_ARG_SRC_1,
    [EX_DNN_WEIGHTS] = DNNL_ARG_WEIGHTS,
    [EX_DNN_BIAS] = DNNL_ARG_BIAS,
    [EX_DNN_DST] = DNNL_ARG_DST,
    [EX_DNN_DIFF_SRC] = DNNL_ARG_DIFF_SRC,
    [EX_DNN_DIFF_WEIGHTS] = DNNL_ARG_DIFF_WEIGHTS,
    [EX_DNN_DIFF_BIAS] = DNNL_ARG_DIFF_BIAS,
    [EX_DNN_DIFF_DST] = DNNL_ARG_DIFF_DST,
    [EX_DNN_MEAN] = DNNL_ARG_MEAN,
    [EX_DNN_VARIANCE] = DNNL_ARG_VARIANCE,
    [EX_DNN_SCALE] = DNNL_ARG_SCALE,
    [EX_DNN_SHIFT] = DNNL_ARG_SHIFT,
    [EX_DNN_DIFF_SCALE] = DNNL_ARG_DIFF_SCALE,
    [EX_DNN_DIFF_SHIFT] = DNNL_ARG_DIFF_SHIFT,
    [EX_DNN_WORKSPACE] = DNNL_ARG_WORKSPACE,
    [EX_DNN_SCRATCHPAD] = DNNL_ARG_SCRATCHPAD,
};

/* Asks for the layouts of the arguments; absent ones (size 0) stay NULL. */
static enum ex_status query_layouts(ex_dnn *dnn, struct ex_dnn_op *op,
                                    const struct ex_dnn_request *request, struct ex_error *err) {
  enum ex_dnn_arg both[] = {EX_DNN_WORKSPACE, EX_DNN_SCRATCHPAD};
  for (int32_t i = 0; i < request->n_args + 2; i++) {
    enum ex_dnn_arg arg = i < request->n_args ? request->args[i] : both[i - request->n_args];
    const dnnl_memory_desc_t *desc =
        dnnl_primitive_desc_query_md(op->desc, dnnl_query_exec_arg_md, argument_code[arg]);
    if (arg == EX_DNN_SCRATCHPAD)
      desc = dnnl_primitive_desc_query_md(op->desc, dnnl_query_scratchpad_md, 0);
    if (desc == NULL || dnnl_memory_desc_get_size(desc) == 0) continue;
    op->layout[arg] = ex__dnn_keep(dnn, desc);
    if (op->layout[arg] == NULL) return ex__fail(err, EX_ENOMEM, "oneDNN: out of memory");
    op->n_arguments++;
  }
  if (op->layout[EX_DNN_SCRATCHPAD] != NULL)
    op->scratch = ex__dnn_layout_bytes(op->layout[EX_DNN_SCRATCHPAD]);
  if (op->layout[EX_DNN_WORKSPACE] != NULL)
    op->workspace = ex__dnn_layout_bytes(op->layout[EX_DNN_WORKSPACE]);
  return EX_OK;
}

enum ex_status ex__dnn_finish(ex_dnn *dnn, dnnl_primitive_desc_t desc,
                              const struct ex_dnn_request *request, const ex_dnn_op **out,
                              struct ex_error *err) {
  struct ex_dnn_op *op = ex__calloc(1, sizeof *op);
  if (op == NULL) {
    dnnl_primitive_desc_destroy(desc);
    return ex__fail(err, EX_ENOMEM, "oneDNN: out of memory");
  }
  op->dnn = dnn;
  op->desc = desc;
  op->implementation = implementation_of(desc);
  enum ex_status status = query_layouts(dnn, op, request, err);
  if (status == EX_OK)
    status = ex__dnn_check(dnnl_primitive_create(&op->primitive, desc), request->what, err);
  if (status != EX_OK) {
    free_op(op);
    return status;
  }
  op->next = dnn->ops;
  dnn->ops = op;
  *out = op;
  return EX_OK;
}

enum ex_status ex__dnn_make(ex_dnn *dnn, const struct ex_dnn_request *request,
                            const ex_dnn_op **out, struct ex_error *err) {
  *out = NULL;
  dnnl_primitive_attr_t attr;
  EX_TRY(ex__dnn_attr(request->post, &attr, err));
  int32_t before = ex__dnn_threads(request->threads);
  dnnl_primitive_desc_t desc;
  enum ex_status status = find_implementation(dnn, request, attr, &desc, err);
  if (status == EX_OK) status = ex__dnn_finish(dnn, desc, request, out, err);
  ex__dnn_threads(before);
  dnnl_primitive_attr_destroy(attr);
  return status;
}

/* ---- queries ------------------------------------------------------------ */

const ex_dnn_layout *ex__dnn_op_layout(const ex_dnn_op *op, enum ex_dnn_arg arg) {
  return op->layout[arg];
}

size_t ex__dnn_op_scratch(const ex_dnn_op *op) { return op->scratch; }
size_t ex__dnn_op_workspace(const ex_dnn_op *op) { return op->workspace; }
const char *ex__dnn_op_implementation(const ex_dnn_op *op) { return op->implementation; }

bool ex__dnn_op_is_reference(const ex_dnn_op *op) {
  return strncmp(op->implementation, "ref", 3) == 0 || strstr(op->implementation, ":ref") != NULL;
}

/* ---- calls -------------------------------------------------------------- */

struct ex_dnn_call {
  const ex_dnn_op *op;
  int32_t n;
  int8_t place[EX_DNN_N_ARGS]; /* index into args; -1: no such argument */
  dnnl_exec_arg_t args[EX_DNN_N_ARGS];
  const void *data[EX_DNN_N_ARGS];
};

enum ex_status ex__dnn_call_new(const ex_dnn_op *op, ex_dnn_call **out) {
  *out = NULL;
  ex_dnn_call *call = ex__calloc(1, sizeof *call);
  if (call == NULL) return EX_ENOMEM;
  call->op = op;
  for (int32_t arg = 0; arg < EX_DNN_N_ARGS; arg++) {
    call->place[arg] = -1;
    if (op->layout[arg] == NULL) continue;
    dnnl_memory_t memory;
    if (dnnl_memory_create(&memory, &op->layout[arg]->desc, op->dnn->engine, DNNL_MEMORY_NONE) !=
        dnnl_success) {
      ex__dnn_call_free(call);
      return EX_ENOMEM;
    }
    call->place[arg] = (int8_t)call->n;
    call->args[call->n++] = (dnnl_exec_arg_t){argument_code[arg], memory};
  }
  *out = call;
  return EX_OK;
}

void ex__dnn_call_free(ex_dnn_call *call) {
  if (call == NULL) return;
  for (int32_t i = 0; i < call->n; i++) dnnl_memory_destroy(call->args[i].memory);
  ex__free(call);
}

void ex__dnn_call_set(ex_dnn_call *call, enum ex_dnn_arg arg, const void *data) {
  int32_t place = call->place[arg];
  if (place < 0 || call->data[place] == data) return;
  call->data[place] = data;
  dnnl_memory_set_data_handle(call->args[place].memory, (void *)(uintptr_t)data);
}

bool ex__dnn_call_run(ex_dnn_call *call) {
  return dnnl_primitive_execute(call->op->primitive, call->op->dnn->stream, call->n, call->args) ==
         dnnl_success;
}

enum ex_status ex__dnn_reorder_now(ex_dnn *dnn, const ex_dnn_layout *from_layout, const void *from,
                                   const ex_dnn_layout *to_layout, void *to, struct ex_error *err) {
  const ex_dnn_op *op;
  EX_TRY(ex__dnn_reorder(dnn, from_layout, to_layout, false, 1, &op, err));
  void *scratch = NULL;
  if (op->scratch > 0) {
    scratch = ex__alloc(op->scratch, 1);
    if (scratch == NULL) return ex__fail(err, EX_ENOMEM, "oneDNN reorder: out of memory");
  }
  ex_dnn_call *call;
  if (ex__dnn_call_new(op, &call) != EX_OK) {
    ex__free(scratch);
    return ex__fail(err, EX_ENOMEM, "oneDNN reorder: out of memory");
  }
  ex__dnn_call_set(call, EX_DNN_SRC, from);
  ex__dnn_call_set(call, EX_DNN_DST, to);
  ex__dnn_call_set(call, EX_DNN_SCRATCHPAD, scratch);
  int32_t before = ex__dnn_threads(1);
  bool done = ex__dnn_call_run(call);
  ex__dnn_threads(before);
  ex__dnn_call_free(call);
  ex__free(scratch);
  return done ? EX_OK : ex__fail(err, EX_EBACKEND, "oneDNN reorder: it did not run");
}
