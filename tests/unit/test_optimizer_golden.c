/* Update rules against known numbers: the golden vectors (scalar, x = 0, gradients
 * 1 -2 3 .5 -.25, exact decimal arithmetic of 60 digits). Double precision. */
#include "tests/unit/optimizer_desk.h"

static const double script[5] = {1, -2, 3, .5, -.25};

struct row {
    const char *line;
    double x1, x2, x5;
};

#define MOMENTS " lr=.1 beta1=.9 beta2=.99 eps=.1"
#define MOMENTS0 " lr=.1 beta1=.9 beta2=.99 eps=0"
#define ADAM "adam" MOMENTS
#define RMSPROP "rmsprop lr=.1 rho=.9"

static void golden_vectors_at_constant_lr(void **unused) {
    static const struct row rows[] = {
        {"sgd lr=.1", -.1, .1, -.225},
        {"momentum lr=.1", -.1, .01, -.60471},
        {"momentum lr=.1 momentum=.9 lr_at=outside", -.1, .01, -.60471},
        {"momentum lr=.1 momentum=.9 lr_at=inside", -.1, .01, -.60471},
        {"momentum lr=.1 dampening=.9", -.1, -.17, -.42903},
        {"momentum lr=.1 dampening=.9 lr_at=inside", -.1, -.17, -.42903},
        {"momentum lr=.1 momentum=0", -.1, .1, -.225},
        {"nesterov lr=.1", -.19, .109, -.769239},
        {"nesterov lr=.1 nesterov=lookahead lr_at=inside", -.19, .109, -.769239},
        {"nesterov lr=.1 nesterov=lookup", -.19, .109, -.769239},
        {"nesterov lr=.1 nesterov=lookup lr_at=inside", -.19, .109, -.769239},
        {ADAM, -.090909090909091, -.056520004910313, -.147973218703445},
        {ADAM " eps_at=outside bias=paper", -.090909090909091, -.056520004910313,
         -.147973218703445},
        {ADAM " eps_at=inside", -.095346258924559, -.059493400427374, -.154424522747315},
        {ADAM " eps_at=hat", -.05, -.024744944303327, -.100674723909203},
        {ADAM " bias=nopower eps_at=inside", -.095346258924559, -.046589616134986,
         -.210345178767157},
        {ADAM " bias=none", -.05, -.015984614801861, -.145656989512391},
        {"adagrad lr=.1 eps=.1 eps_at=inside", -.095346258924559, -.006784770370550,
         -.093292187588077},
        {"adagrad lr=.1 eps=.1 eps_at=outside", -.090909090909091, -.005295143915111,
         -.089851928619200},
        {RMSPROP " eps=.1 eps_at=inside", -.223606797749979, .036771024211669, -.233785944890182},
        {RMSPROP " eps=.1 eps_at=outside", -.240253073352042, .009746926647958, -.248421428975023},
        {RMSPROP " eps=0 momentum=.9", -.316227766016838, -.315118469717706, -1.076392432920072},
        {RMSPROP " eps=0 momentum=.9 lr_at=inside", -.316227766016838, -.315118469717706,
         -1.076392432920072},
        {RMSPROP " eps=.1 momentum=.9", -.240253073352042, -.206480839368880, -.827256672706216},
        {"adadelta rho=.9 eps=.1", -.707106781186548, .301332186992674, -1.072175338248953},
        {"adadelta rho=.95 eps=1e-6", -.004472091234311, .001213221290106, -.006360358089516},
        {"adadelta", -.004472091234311, .001213221290106, -.006360358089516},
        {"amsgrad" MOMENTS, -.090909090909091, -.056520004910313, -.147907704034103},
        {"amsgrad" MOMENTS " form=torch", -.090909090909091, -.056520004910313, -.147907704034103},
        {"amsgrad" MOMENTS " form=vhat", -.090909090909091, -.056520004910313, -.138565947013232},
        {"amsgrad" MOMENTS " form=paper", -.05, -.015984614801861, -.145572322699743},
        {"adamax" MOMENTS, -.090909090909091, -.063340168603326, -.123836008450422},
        {"adamax" MOMENTS0, -.1, -.071052631578947, -.133564999420946},
        {"adamax" MOMENTS0 " bias=none", -.01, -.0045, -.025191803557460},
        {"adamw" MOMENTS " weight_decay=0", -.090909090909091, -.056520004910313,
         -.147973218703445},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct point point = start(rows[r].line, 0);
        for (int t = 1; t <= 5; t++) {
            step(&point, point.options.lr, script[t - 1]);
            if (t == 1) {
                near(rows[r].line, point.x, rows[r].x1);
            } else if (t == 2) {
                near(rows[r].line, point.x, rows[r].x2);
            }
        }
        near(rows[r].line, point.x, rows[r].x5);
    }
}

static void golden_vectors_when_lr_falls_to_a_tenth_at_the_third_update(void **unused) {
    static const struct row rows[] = {
        {"momentum lr=.1 lr_at=inside", -.1, .01, .18999},
        {"momentum lr=.1 lr_at=outside", -.1, .01, -.051471},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct point point = start(rows[r].line, 0);
        for (int t = 1; t <= 5; t++) {
            step(&point, t < 3 ? .1 : .01, script[t - 1]);
        }
        near(rows[r].line, point.x, rows[r].x5);
    }
}

/* Rows of the golden table that have no option, by scalars of their own: that the
 * kernels do what the scalars say, and not what the options say. */
static void golden_vectors_of_test_only_variants(void **unused) {
    struct point ema = start("momentum lr=.1 dampening=.9", 0);
    struct point later = start(ADAM, 0);
    struct point old = start(RMSPROP " eps=.1 eps_at=inside", 0);
    old.state[0] = 1; /* TensorFlow 1 started r there */
    for (int t = 1; t <= 5; t++) {
        double scalars[TW_OPTIMIZER_SCALARS];
        ema.rule->prepare(&ema.options, 2, .1, scalars); /* the first gradient damped too */
        apply(&ema, scalars, script[t - 1]);
        later.rule->prepare(&later.options, (uint64_t)t + 1, .1, scalars);
        apply(&later, scalars, script[t - 1]);
        step(&old, .1, script[t - 1]);
        if (t == 1) {
            near("RMSProp from r = 1", old.x, -.095346258924559);
            near("EMA momentum", ema.x, -.01);
            near("Adam, exponent t + 1", later.x, -.065067130527314);
        }
    }
    near("RMSProp from r = 1", old.x, -.146824808685327);
    near("EMA momentum", ema.x, -.060471);
    near("Adam, exponent t + 1", later.x, -.120658248919923);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_vectors_at_constant_lr),
        cmocka_unit_test(golden_vectors_when_lr_falls_to_a_tenth_at_the_third_update),
        cmocka_unit_test(golden_vectors_of_test_only_variants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
