/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_idiom: what PyTorch writes for LayerNorm and GELU.
 *
 *   norm   m = ReduceMean(x), d = Sub(x, m), p = Pow(d, 2), v = ReduceMean(p),
 *          a = Add(v, eps), s = Sqrt(a), Div(d, s)
 *   gelu   d = Div(x, √2), e = Erf(d), a = Add(e, 1), m = Mul(x, a), Mul(m, 1/2)
 *
 * Each is looked for from the node in it that is rarest elsewhere.
 */
#include "onnx/onnx_idiom.h"

#include <math.h>
#include <string.h>

enum { MOST = 7 }; /* nodes of an idiom */

struct search {
  const struct ex_onnx_exits *exits;
  ex_onnx_eval *eval;
  struct ex_error *err;
  enum ex_status status;
  size_t part[MOST]; /* nodes found so far */
  int32_t n;
};

static const Onnx__NodeProto *node_at(const struct search *s, size_t i) {
  return s->exits->graph->node[i];
}

/* Takes node i into the idiom, if there is one, of this operator with this many inputs. */
static bool take(struct search *s, size_t i, const char *op, size_t n_in) {
  if (i >= s->exits->graph->n_node || s->n == MOST || !ex__onnx_depends_node(s->exits, i))
    return false;
  const Onnx__NodeProto *node = node_at(s, i);
  if (strcmp(node->op_type, op) != 0 || node->n_input != n_in || node->n_output != 1) return false;
  s->part[s->n++] = i;
  return true;
}

static size_t maker(const struct search *s, const char *name, size_t before) {
  return ex__onnx_maker(s->exits->graph, name, before);
}

/* How often a value is read, by nodes that are needed and as an exit. */
static int32_t count_readers(const struct search *s, const char *name) {
  int32_t n = 0;
  for (int32_t k = 0; k < s->exits->n; k++) n += strcmp(s->exits->output[k], name) == 0;
  for (size_t i = 0; i < s->exits->graph->n_node; i++)
    for (size_t k = 0; s->exits->needed[i] && k < node_at(s, i)->n_input; k++)
      n += strcmp(node_at(s, i)->input[k], name) == 0;
  return n;
}

/* The first node behind `after` that reads what it makes; n_node: none. */
static size_t reader(const struct search *s, size_t after) {
  size_t n = s->exits->graph->n_node;
  for (size_t i = after + 1; i < n; i++)
    for (size_t k = 0; s->exits->needed[i] && k < node_at(s, i)->n_input; k++)
      if (strcmp(node_at(s, i)->input[k], node_at(s, after)->output[0]) == 0) return i;
  return n;
}

/* Input k as a single constant number. */
static bool number(struct search *s, size_t i, size_t k, double *value) {
  struct ex_onnx_tensor *tensor = ex__onnx_eval_find(s->eval, node_at(s, i)->input[k]);
  if (tensor == NULL || tensor->unknown || tensor->count != 1 || s->status != EX_OK) return false;
  s->status = ex__onnx_eval_load(s->eval, tensor, s->err);
  if (s->status != EX_OK) return false;
  *value = ex__onnx_at(tensor, 0);
  return true;
}

static bool is_number(struct search *s, size_t i, size_t k, double wanted) {
  double value;
  return number(s, i, k, &value) && fabs(value - wanted) <= 1e-6 * wanted;
}

/* In an operator that commutes: of the two inputs the one that is not this constant; NULL: neither is. */
static const char *beside_number(struct search *s, size_t i, double wanted) {
  if (is_number(s, i, 1, wanted)) return node_at(s, i)->input[0];
  if (is_number(s, i, 0, wanted)) return node_at(s, i)->input[1];
  return NULL;
}

/* That all its nodes belong together, and nobody outside reads what they make but the last. */
static bool closed(const struct search *s, size_t last) {
  const struct ex_onnx_exits *exits = s->exits;
  for (int32_t i = 0; i < s->n; i++) {
    int32_t inside = 0;
    const char *made = node_at(s, s->part[i])->output[0];
    if (exits->stage[s->part[i]] != exits->stage[last] ||
        exits->part[s->part[i]] != exits->part[last])
      return false;
    if (s->part[i] == last) continue;
    for (int32_t j = 0; j < s->n; j++)
      for (size_t k = 0; k < node_at(s, s->part[j])->n_input; k++)
        inside += strcmp(node_at(s, s->part[j])->input[k], made) == 0;
    if (count_readers(s, made) != inside) return false;
  }
  return true;
}

/* ---- gelu --------------------------------------------------------------------------- */

/* From its Erf on. */
static bool find_gelu(struct search *s, size_t erf, struct ex_onnx_idiom *found, size_t *last) {
  if (!take(s, erf, "Erf", 1)) return false;
  size_t divided = maker(s, node_at(s, erf)->input[0], erf);
  if (!take(s, divided, "Div", 2) || !is_number(s, divided, 1, sqrt(2))) return false;
  const char *x = node_at(s, divided)->input[0];
  size_t raised = reader(s, erf);
  if (!take(s, raised, "Add", 2) || beside_number(s, raised, 1) == NULL) return false;
  size_t product = reader(s, raised);
  if (!take(s, product, "Mul", 2)) return false;
  const Onnx__NodeProto *node = node_at(s, product);
  if (strcmp(node->input[0], x) != 0 && strcmp(node->input[1], x) != 0) return false;
  *last = reader(s, product);
  if (!take(s, *last, "Mul", 2) || beside_number(s, *last, 0.5) == NULL) return false;
  *found = (struct ex_onnx_idiom){.kind = EX_ONNX_IDIOM_GELU, .input = x};
  return closed(s, *last);
}

/* ---- norm --------------------------------------------------------------------------- */

/* That node i is a mean along the last dimension, which stays as one of size 1, and is not the batch. */
static bool is_last_mean(const struct search *s, size_t i) {
  const Onnx__NodeProto *node = node_at(s, i);
  const struct ex_onnx_tensor *in = ex__onnx_eval_find(s->eval, node->input[0]);
  const Onnx__AttributeProto *axes = ex__onnx_attribute(node, "axes");
  const Onnx__AttributeProto *keep = ex__onnx_attribute(node, "keepdims");
  return in != NULL && axes != NULL && axes->n_ints == 1 && (keep == NULL || keep->i == 1) &&
         (axes->ints[0] == -1 || axes->ints[0] == in->rank - 1) && in->axis < in->rank - 1;
}

/* From its Sqrt on. */
static bool find_norm(struct search *s, size_t root, struct ex_onnx_idiom *found, size_t *last) {
  double eps;
  if (!take(s, root, "Sqrt", 1)) return false;
  size_t added = maker(s, node_at(s, root)->input[0], root);
  if (!take(s, added, "Add", 2) || !number(s, added, 1, &eps) || !(eps >= 0 && eps <= 1))
    return false;
  size_t variance = maker(s, node_at(s, added)->input[0], added);
  if (!take(s, variance, "ReduceMean", 1) || !is_last_mean(s, variance)) return false;
  size_t square = maker(s, node_at(s, variance)->input[0], variance);
  if (!take(s, square, "Pow", 2) || !is_number(s, square, 1, 2)) return false;
  const char *d = node_at(s, square)->input[0];
  size_t difference = maker(s, d, square);
  if (!take(s, difference, "Sub", 2)) return false;
  const char *x = node_at(s, difference)->input[0];
  size_t mean = maker(s, node_at(s, difference)->input[1], difference);
  if (!take(s, mean, "ReduceMean", 1) || !is_last_mean(s, mean)) return false;
  if (strcmp(node_at(s, mean)->input[0], x) != 0) return false;
  *last = reader(s, root);
  if (!take(s, *last, "Div", 2)) return false;
  const Onnx__NodeProto *node = node_at(s, *last);
  if (strcmp(node->input[0], d) != 0 || strcmp(node->input[1], node_at(s, root)->output[0]) != 0)
    return false;
  *found = (struct ex_onnx_idiom){.kind = EX_ONNX_IDIOM_NORM, .input = x, .eps = eps};
  return closed(s, *last);
}

enum ex_status ex__onnx_find_idioms(const struct ex_onnx_exits *exits, ex_onnx_eval *eval,
                                    struct ex_onnx_idiom *idiom, struct ex_error *err) {
  for (size_t i = 0; i < exits->graph->n_node; i++) {
    struct search s = {.exits = exits, .eval = eval, .err = err};
    struct ex_onnx_idiom found;
    size_t last = 0;
    bool ok = find_gelu(&s, i, &found, &last);
    if (!ok && s.n == 0) ok = find_norm(&s, i, &found, &last);
    if (s.status != EX_OK) return ex__onnx_name_node(exits->graph->node[i], i, s.status, err);
    if (!ok) continue;
    for (int32_t k = 0; k < s.n; k++) idiom[s.part[k]].kind = EX_ONNX_IDIOM_INSIDE;
    idiom[last] = found;
  }
  return EX_OK;
}

enum ex_status ex__onnx_map_idiom(struct ex_onnx_map *map, const struct ex_onnx_idiom *idiom) {
  const struct ex_onnx_tensor *in = ex__onnx_eval_find(map->eval, idiom->input);
  int32_t x = in->tag - 1, value;
  if (idiom->kind == EX_ONNX_IDIOM_GELU) {
    EX_TRY(ex__onnx_map_add(map, "gelu", NULL, -1, &x, 1, &value));
    return ex__onnx_map_out(map, 0, value);
  }
  const struct ex_standardise attr = {.size = (int32_t)in->dim[in->rank - 1], .eps = idiom->eps};
  EX_TRY(ex__onnx_map_add(map, "standardise", &attr, -1, &x, 1, &value));
  return ex__onnx_map_out(map, 0, value);
}
