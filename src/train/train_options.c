/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_options: the table of the "train" object of a recipe.
 */
#include "train/train.h"

static const char *const optimisers[] = {"sgd", "adamw", NULL};
static const char *const schedules[] = {"constant", "step", "cosine", "one-cycle", NULL};
static const char *const regimes[] = {"joint", "frozen-trunk", "trunk-then-joint", NULL};

#define FIELD(name) offsetof(struct ex_train_options, name)

const struct ex_param ex__train_params[] = {
    {"epochs", EX_PARAM_INT, FIELD(epochs), 1, 100000, "4", NULL,
     "How often every training sample is seen, all phases together."},
    {"batch", EX_PARAM_INT, FIELD(batch), 1, 65536, "64", NULL,
     "Samples per step; fewer where there are not as many."},
    {"optimiser", EX_PARAM_ENUM, FIELD(optimiser), 0, 0, "sgd", optimisers,
     "Sgd with momentum, or adamw."},
    {"schedule", EX_PARAM_ENUM, FIELD(schedule), 0, 0, "one-cycle", schedules,
     "How the learning rate moves within a phase."},
    {"regime", EX_PARAM_ENUM, FIELD(regime), 0, 0, "joint", regimes,
     "What is trained when: everything; only the exits, the trunk frozen; or first the trunk "
     "alone, then everything."},
    {"trunk-epochs", EX_PARAM_INT, FIELD(trunk_epochs), 0, 100000, "0", NULL,
     "Epochs, of all, that train the trunk alone before the rest; 0: a third for "
     "trunk-then-joint, none for frozen-trunk."},
    {"learning-rate", EX_PARAM_REAL, FIELD(learning_rate), 0, 100, "0.1", NULL,
     "The largest learning rate of the schedule."},
    {"momentum", EX_PARAM_REAL, FIELD(momentum), 0, 0.9999, "0.9", NULL, "Of sgd."},
    {"nesterov", EX_PARAM_BOOL, FIELD(nesterov), 0, 1, "true", NULL,
     "Sgd looks ahead along its momentum (Nesterov)."},
    {"weight-decay", EX_PARAM_REAL, FIELD(weight_decay), 0, 10, "0.0005", NULL,
     "Decay of weights; sgd adds it to the gradient, adamw keeps it apart."},
    {"decay-all", EX_PARAM_BOOL, FIELD(decay_all), 0, 1, "false", NULL,
     "Decay biases and the scales and shifts of norms too."},
    {"beta1", EX_PARAM_REAL, FIELD(beta1), 0, 0.9999, "0.9", NULL,
     "Adamw: memory of the gradient."},
    {"beta2", EX_PARAM_REAL, FIELD(beta2), 0, 0.999999, "0.999", NULL,
     "Adamw: memory of its square."},
    {"epsilon", EX_PARAM_REAL, FIELD(epsilon), 1e-12, 1, "1e-8", NULL,
     "Adamw: added to the root of the square."},
    {"milestones", EX_PARAM_LIST, FIELD(milestones), 0, 1, "0.5,0.75", NULL,
     "Step schedule: shares of the phase at which the rate is multiplied by the factor."},
    {"factor", EX_PARAM_REAL, FIELD(factor), 0, 1, "0.1", NULL, "Step schedule: see milestones."},
    {"warmup", EX_PARAM_REAL, FIELD(warmup), 0, 1, "0.3", NULL,
     "One-cycle: share of the phase in which the rate rises."},
    {"cycle-momentum", EX_PARAM_BOOL, FIELD(cycle_momentum), 0, 1, "false", NULL,
     "One-cycle: momentum (beta1 of adamw) falls while the rate rises, and rises while it falls."},
    {"momentum-low", EX_PARAM_REAL, FIELD(momentum_low), 0, 0.9999, "0.85", NULL,
     "Cycle-momentum: the lowest."},
    {"momentum-high", EX_PARAM_REAL, FIELD(momentum_high), 0, 0.9999, "0.95", NULL,
     "Cycle-momentum: the highest."},
    {"clip", EX_PARAM_REAL, FIELD(clip), 0, 1e9, "0", NULL,
     "Largest norm of the gradient of a step; 0: any."},
    {"class-weights", EX_PARAM_BOOL, FIELD(class_weights), 0, 1, "false", NULL,
     "Weigh samples inversely to the frequency of their class."},
    {"meta-share", EX_PARAM_REAL, FIELD(meta_share), 0, 0.5, "0", NULL,
     "Share of the labelled training samples that is held out for methods that learn weights on "
     "them; they take 0.1 where this is 0. For others it only makes comparisons fair."},
    {"labelled-share", EX_PARAM_REAL, FIELD(labelled_share), 0, 1, "0", NULL,
     "Share of every batch that is labelled, the rest being unlabelled samples; an epoch is then "
     "one pass over the labelled ones. 0: as they come; 1: unlabelled samples are left out."},
    {"select-point", EX_PARAM_INT, FIELD(select_point), -1, EX_MAX_POINTS - 1, "-1", NULL,
     "Exit, from 0, whose accuracy on the select split chooses the best epoch; -1: the last, "
     "or the mean of those trained where the last is frozen."},
    {"select-every", EX_PARAM_INT, FIELD(select_every), 0, 100000, "1", NULL,
     "Epochs between looks at the select split; 0: never, the last epoch is kept."},
    {0}};
