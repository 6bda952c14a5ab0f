// pretrain.c: train a small language model with my-llm's C library, and stop it early.
//
//     cc pretrain.c $(pkg-config --cflags --libs my-llm) -o pretrain
//     ./pretrain the-verdict.txt run
//
// A run that was stopped goes on when the program is called again: same bits as if it had never stopped.
#include <my_llm.h>

#include <stdio.h>
#include <stdlib.h>

struct watch {
    double seconds; // after which the run is stopped
};

// Called by the library as the run goes on; false stops it, with a checkpoint.
static bool on_event(void *user, const struct llm_train_event *event) {
    const struct watch *watch = user;
    switch (event->kind) {
    case LLM_TRAIN_PLAN:
        printf("%lld steps, about %.0f seconds\n", (long long)event->plan->n_steps, event->plan->seconds);
        break;
    case LLM_TRAIN_EVALUATION:
        printf("step %lld: train loss %.3f, validation loss %.3f\n", (long long)event->step, event->train_loss,
               event->val_loss);
        break;
    case LLM_TRAIN_EPOCH:
        printf("%.*s\n", (int)event->text_size, event->text == NULL ? "" : event->text);
        break;
    default:
        break;
    }
    return event->seconds < watch->seconds;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: pretrain FILE DIR [SECONDS]\n");
        return 2;
    }
    struct watch watch = {.seconds = argc > 3 ? strtod(argv[3], NULL) : 60};
    struct llm_pretrain_options options;
    llm_pretrain_options_init(&options);
    options.n_layer = 2;
    options.n_head = 2;
    options.n_embd = 32;
    options.context = 32;
    options.train.epochs = 2;
    options.train.eval_freq = 20;
    options.train.event = on_event;
    options.train.callbacks.user = &watch;

    const char *const files[] = {argv[1]};
    struct llm_train_result result;
    struct llm_error err = {0};
    bool ok = llm_pretrain(files, 1, argv[2], &options, &result, &err);
    if (!ok && err.code == LLM_ERROR_EXISTS) { // a run that was stopped: go on with it
        err = (struct llm_error){0};
        options.train.resume = true;
        ok = llm_pretrain(files, 1, argv[2], &options, &result, &err);
    }
    if (!ok) {
        fprintf(stderr, "%s\n", err.text);
        return err.code == LLM_ERROR_CANCELLED ? 3 : 1;
    }
    printf("%s/model: validation loss %.3f after %lld steps\n", argv[2], result.val_loss, (long long)result.steps);
    return 0;
}
