/* How the weights of a layer start: the options that layers with weights share.
 *
 * A layer embeds struct tw_weight_init in its options as the member `init` and ends its rules
 * with TW_WEIGHT_INIT_RULES. `in` and `out` are what one unit reads and what one input feeds
 * (fan-in and fan-out): of a convolution channels times the kernel's area.
 *
 *     he       He et al. 2015, "Delving Deep into Rectifiers", eq. 10
 *     glorot   Glorot and Bengio 2010, "Understanding the Difficulty of Training Deep
 *              Feedforward Neural Networks", eq. 16 (uniform), eq. 12 (normal)
 *     lecun    LeCun et al. 1998, "Efficient BackProp", eq. 16
 *
 * A uniform form has the variance of the normal one: its bound is sqrt(3) standard deviations.
 */
#ifndef TW_NN_WEIGHT_INIT_H
#define TW_NN_WEIGHT_INIT_H

#include "common/job/options.h"
#include "common/tensor/tensor.h"

#define TW_WEIGHT_STD 0.01
#define TW_WEIGHT_BOUND 0.05

struct tw_weight_init {
    int kind; /* index into tw_weight_init_names */
    double std, bound, value;
    double bias; /* what every bias starts at */
};

extern const char *const tw_weight_init_names[];

#define TW_WEIGHT_INIT_MEMBER(options, member) offsetof(struct options, init.member)
#define TW_WEIGHT_INIT_RULES(options)                                                              \
    {.key = "init",                                                                                \
     .type = TW_OPTION_ENUM,                                                                       \
     .offset = TW_WEIGHT_INIT_MEMBER(options, kind),                                               \
     .names = tw_weight_init_names,                                                                \
     .text = "how weights start: he (std sqrt(2/in)), glorot (+-sqrt(6/(in+out))), lecun (std "    \
             "sqrt(1/in)), their other forms, normal, uniform, constant, zeros"},                  \
        {.key = "std",                                                                             \
         .type = TW_OPTION_REAL,                                                                   \
         .offset = TW_WEIGHT_INIT_MEMBER(options, std),                                            \
         .fallback = TW_WEIGHT_STD,                                                                \
         .min = 0,                                                                                 \
         .max = 1e6,                                                                               \
         .text = "standard deviation of init: normal"},                                            \
        {.key = "bound",                                                                           \
         .type = TW_OPTION_REAL,                                                                   \
         .offset = TW_WEIGHT_INIT_MEMBER(options, bound),                                          \
         .fallback = TW_WEIGHT_BOUND,                                                              \
         .min = 0,                                                                                 \
         .max = 1e6,                                                                               \
         .text = "of init: uniform, from -bound to bound"},                                        \
        {.key = "value",                                                                           \
         .type = TW_OPTION_REAL,                                                                   \
         .offset = TW_WEIGHT_INIT_MEMBER(options, value),                                          \
         .fallback = 0,                                                                            \
         .min = -1e6,                                                                              \
         .max = 1e6,                                                                               \
         .text = "of init: constant"},                                                             \
    {                                                                                              \
        .key = "bias", .type = TW_OPTION_REAL, .offset = TW_WEIGHT_INIT_MEMBER(options, bias),     \
        .fallback = 0, .min = -1e6, .max = 1e6, .text = "what biases start at"                     \
    }

/* TW_JOB when an option is given that belongs to another kind than the one named. */
enum tw_status tw_weight_init_check(const struct tw_variant *variant,
                                    const struct tw_weight_init *init, struct tw_error *error);

/* What a tensor of weights with so many inputs and outputs starts with, and its biases. */
struct tw_init tw_weight_init_of(const struct tw_weight_init *init, double in, double out);
struct tw_init tw_bias_init_of(const struct tw_weight_init *init);

#endif
