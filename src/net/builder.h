/* SPDX-License-Identifier: Apache-2.0
 *
 * net/builder: how a file of zoo/ writes a network down.
 *
 * Values are ids of the graph. The first failure sticks: later calls do
 * nothing and return −1, and ex__builder_finish reports it, so an architecture
 * reads like the figure in its paper. Names follow PyTorch's habit: inside
 * stage 1 `conv` named "conv1" owns "stage1.conv1.weight", inside its head
 * "head1.conv1.weight".
 */
#ifndef EX_NET_BUILDER_H
#define EX_NET_BUILDER_H

#include "graph/op.h"
#include "net/net.h"

typedef struct ex_builder ex_builder;

/* `input`: shape of one sample. */
enum ex_status ex__builder_new(const struct ex_shape *input, int32_t n_outputs, ex_builder **out,
                               struct ex_error *err);
/* Checks the net and gives initial weights by seed; releases the builder in
 * every case. */
enum ex_status ex__builder_finish(ex_builder *builder, uint64_t seed, ex_net **out,
                                  struct ex_error *err);
/* The first failure so far, for a caller that builds from a file and says where. */
enum ex_status ex__builder_status(const ex_builder *builder, struct ex_error *err);
void ex__builder_fail(ex_builder *builder, enum ex_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

int32_t ex__builder_outputs(const ex_builder *builder); /* classes: what every head must give */
int32_t ex__builder_input(ex_builder *builder);
/* Begins the next stage: nodes from here on belong to its body. */
void ex__builder_stage(ex_builder *builder);
/* Nodes from here on belong to the head (the gate) of the current stage. */
void ex__builder_head(ex_builder *builder);
void ex__builder_gate(ex_builder *builder);
/* Nodes from here on belong to any part of any stage that was begun: for networks that
 * are not written down stage by stage. */
void ex__builder_enter(ex_builder *builder, int32_t stage, enum ex_part part);
/* Whether a value is made there. */
bool ex__builder_in(const ex_builder *builder, int32_t value, int32_t stage, enum ex_part part);
/* Makes the current stage an answer point. `needs`: see struct ex_point. */
void ex__builder_point(ex_builder *builder, int32_t output, int32_t gate, uint32_t needs);
/* Going back, for what is added to a network that stands: nodes from here on
 * belong to the head or gate of `point`, which then answers with other values. */
int32_t ex__builder_points(const ex_builder *builder);
const struct ex_point *ex__builder_at(const ex_builder *builder, int32_t point);
void ex__builder_back(ex_builder *builder, int32_t point, enum ex_part part);
void ex__builder_answer(ex_builder *builder, int32_t point, int32_t output, int32_t gate,
                        uint32_t needs);
struct ex_transform *ex__builder_transform(ex_builder *builder); /* identity unless it is set */
void ex__builder_init(ex_builder *builder, enum ex_init init);
const struct ex_shape *ex__builder_shape(const ex_builder *builder, int32_t value);
int64_t ex__builder_macs(const ex_builder *builder); /* of all bodies so far */

int32_t ex__builder_op(ex_builder *builder, const char *op, const char *name, const void *attr,
                       const int32_t *in, int32_t n_in);
int32_t ex__builder_conv(ex_builder *builder, const char *name, int32_t x, int32_t channels,
                         int32_t kernel, int32_t stride, int32_t pad, bool bias);
int32_t ex__builder_batch_norm(ex_builder *builder, const char *name, int32_t x);
int32_t ex__builder_relu(ex_builder *builder, int32_t x);
int32_t ex__builder_max_pool(ex_builder *builder, int32_t x, int32_t kernel, int32_t stride,
                             int32_t pad);
int32_t ex__builder_avg_pool(ex_builder *builder, int32_t x, int32_t kernel, int32_t stride,
                             int32_t pad);
int32_t ex__builder_global_pool(ex_builder *builder, int32_t x); /* → [channels] */
int32_t ex__builder_flatten(ex_builder *builder, int32_t x);
int32_t ex__builder_linear(ex_builder *builder, const char *name, int32_t x, int32_t features);
int32_t ex__builder_add(ex_builder *builder, int32_t a, int32_t b);
int32_t ex__builder_concat(ex_builder *builder, const int32_t *in, int32_t n_in);

#endif
