/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_inspect: what a model or a recipe's network is made of, untrained
 * too, without touching data where the recipe names its input.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "cli/console.h"
#include "cli/explain.h"
#include "cli/open.h"
#include "net/net.h"
#include "zoo/zoo.h"

struct options {
  struct common_options common;
  bool programs;
  struct assignments set;
};

static const struct option_spec table[] = {
    {"set", 's', OPTION_ASSIGNMENTS, offsetof(struct options, set), "PATH=VALUE", 0, 0, NULL,
     "Changes the recipe: network.growth=8; may be repeated."},
    {"programs", 0, OPTION_FLAG, offsetof(struct options, programs), NULL, 0, 0, NULL,
     "Also lists the compiled steps: implementation, layout, algorithm."},
    {0},
};

static enum ex_status build_from_recipe(const char *name, const struct assignments *set,
                                        uint64_t seed, ex_model **out, struct ex_error *err) {
  struct ex_recipe recipe;
  EX_TRY(open_recipe(name, set, &recipe, err));
  ex_data *data = NULL;
  ex_net *net = NULL;
  enum ex_status status = EX_OK;
  if (json_object_get(recipe.json, "input") == NULL)
    status = ex__recipe_open_data(&recipe, &data, err);
  if (status == EX_OK) status = ex__recipe_build_net(&recipe, data, seed, &net, err);
  if (status == EX_OK) {
    const struct ex_preprocess plain = {.n_channels = 1, .deviation = {1}};
    status = ex__model_new(net, &plain, NULL, out, err);
    if (status != EX_OK) ex_net_free(net);
  }
  ex__data_free(data);
  ex__recipe_free(&recipe);
  return status;
}

static void print_row(const json_t *exit) {
  char macs[16], head[16], params[16];
  printf("%4lld  %10s  %10s  %10s  %5.1f %%\n",
         (long long)json_integer_value(json_object_get(exit, "exit")) + 1,
         console_macs(json_number_value(json_object_get(exit, "macs")), macs),
         console_macs(json_number_value(json_object_get(exit, "head_macs")), head),
         console_macs(json_number_value(json_object_get(exit, "params")), params),
         100 * json_number_value(json_object_get(exit, "share")));
}

static void print_text(const json_t *json) {
  printf("exit  cumulative        head  parameters  of full depth\n"
         "      multiply-adds             cumulative\n");
  size_t i;
  const json_t *exit;
  json_array_foreach(json_object_get(json, "exits"), i, exit) { print_row(exit); }
}

/* Of joined networks (cli/joining): which exit is which. */
static void print_networks(const ex_model *model, const json_t *json) {
  const json_t *networks = json_object_get(model->provenance, "networks"), *network;
  size_t i;
  if (!json_is_array(networks)) return;
  printf("\njoined networks, each straight from the input\n");
  json_array_foreach(networks, i, network) {
    char macs[16];
    const json_t *exit = json_array_get(json_object_get(json, "exits"), i);
    const char *file = json_string_value(json_object_get(network, "file"));
    printf("%4d  %10s  %s\n", (int)i + 1,
           console_macs(json_number_value(json_object_get(exit, "direct_macs")), macs),
           file != NULL ? file : "-");
  }
}

static int print_programs(const ex_model *model, struct ex_error *err) {
  ex_plan *plan;
  ex_compiled *compiled;
  if (open_compiled(model, 1, &plan, &compiled, err) != EX_OK)
    return console_fail(&command_inspect, err);
  struct ex_text text = {0};
  ex__compiled_describe(compiled, &text);
  printf("\n%s", text.data != NULL ? text.data : "");
  ex__text_clear(&text);
  ex__compiled_free(compiled);
  ex__plan_free(plan);
  return EXIT_SUCCESS;
}

static int run(const void *given, char *const *arguments, int32_t n) {
  (void)n;
  const struct options *options = given;
  struct ex_error err = {0};
  ex_model *model = NULL;
  enum ex_status status = names_recipe(arguments[0])
                              ? build_from_recipe(arguments[0], &options->set,
                                                  (uint64_t)options->common.seed, &model, &err)
                              : ex__model_read(arguments[0], &model, &err);
  if (status != EX_OK) return console_fail(&command_inspect, &err);
  json_t *json = ex__net_inspect(model->net);
  int code = EXIT_SUCCESS;
  if (options->common.json) {
    if (model->policy != NULL) json_object_set(json, "policy", model->policy);
    if (model->receipt != NULL) json_object_set(json, "receipt", model->receipt);
    if (model->provenance != NULL) json_object_set(json, "provenance", model->provenance);
    code = console_json(&command_inspect, json);
  } else {
    print_text(json);
    print_networks(model, json);
    json_decref(json);
    if (options->programs) code = print_programs(model, &err);
  }
  ex_model_free(model);
  return code;
}

static int explain(const void *given, char *const *arguments, int32_t n) {
  (void)given;
  if (n > 0 && ex__zoo_find(arguments[0]) != NULL) return explain_architecture(arguments[0]);
  options_print_help(&command_inspect);
  explain_architectures();
  return EXIT_SUCCESS;
}

const struct command command_inspect = {
    .name = "inspect",
    .arguments = "MODEL|RECIPE",
    .summary = "stages, exits, shapes, multiply-adds, memory",
    .help = "Shows what a model file, or the untrained network of a recipe, is made of. Costs are\n"
            "cumulative: all bodies, heads and gates up to an exit.\n"
            "An architecture and its parameters are explained by `exeunt inspect NAME --help`.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
    .explain = explain,
};
