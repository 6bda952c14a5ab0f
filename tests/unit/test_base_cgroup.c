// test_base_cgroup.c: what control groups leave a process, read from made-up /proc and /sys.
#include "formats_support.h"

#include "base/cgroup.h"

enum {
    MOST_FILES = 10
};

static const int64_t unlimited = INT64_MAX;

struct example {
    const char *what;
    struct {
        const char *path, *text;
    } files[MOST_FILES];
    int cores;
    int64_t memory;
};

static const struct example examples[] = {
    {.what = "nothing is there", .memory = unlimited},
    {.what = "no limits",
     .files = {{"proc/self/cgroup", "0::/a\n"},
               {"sys/fs/cgroup/a/cpu.max", "max 100000\n"},
               {"sys/fs/cgroup/a/memory.max", "max\n"},
               {"sys/fs/cgroup/a/memory.current", "5000\n"}},
     .memory = unlimited},
    {.what = "a container's group at the top",
     .files = {{"proc/self/cgroup", "0::/\n"},
               {"sys/fs/cgroup/cpu.max", "150000 100000\n"},
               {"sys/fs/cgroup/memory.max", "10000\n"},
               {"sys/fs/cgroup/memory.current", "6000\n"},
               {"sys/fs/cgroup/memory.stat", "anon 2500\nfile 3500\ninactive_file 1000\nactive_file 2000\n"}},
     .cores = 2,
     .memory = 7000},
    {.what = "the path leads nowhere here",
     .files = {{"proc/self/cgroup", "0::/system/container\n"},
               {"sys/fs/cgroup/cpu.max", "300000 100000\n"},
               {"sys/fs/cgroup/memory.max", "10000\n"},
               {"sys/fs/cgroup/memory.current", "6000\n"}},
     .cores = 3,
     .memory = 4000},
    {.what = "a group above has less left, though its limit is higher",
     .files = {{"proc/self/cgroup", "0::/a/b\n"},
               {"sys/fs/cgroup/a/b/cpu.max", "400000 100000\n"},
               {"sys/fs/cgroup/a/b/memory.max", "10000\n"},
               {"sys/fs/cgroup/a/b/memory.current", "1000\n"},
               {"sys/fs/cgroup/a/cpu.max", "50000 100000\n"},
               {"sys/fs/cgroup/a/memory.max", "20000\n"},
               {"sys/fs/cgroup/a/memory.current", "19000\n"},
               {"sys/fs/cgroup/a/memory.stat", "anon 18500\nactive_file 500\n"}},
     .cores = 1,
     .memory = 1500},
    {.what = "more is used than allowed",
     .files = {{"sys/fs/cgroup/memory.max", "1000\n"}, {"sys/fs/cgroup/memory.current", "1200\n"}},
     .memory = 0},
    {.what = "more is cached than used",
     .files = {{"sys/fs/cgroup/memory.max", "1000\n"},
               {"sys/fs/cgroup/memory.current", "200\n"},
               {"sys/fs/cgroup/memory.stat", "anon 0\ninactive_file 300\n"}},
     .memory = 1000},
    {.what = "version 1",
     .files = {{"proc/self/cgroup", "9:name=systemd:/x\n4:memory:/a\n3:cpuset:/x\n2:cpu,cpuacct:/b\n0::/\n"},
               {"sys/fs/cgroup/cpu/b/cpu.cfs_quota_us", "250000\n"},
               {"sys/fs/cgroup/cpu/b/cpu.cfs_period_us", "100000\n"},
               {"sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"},
               {"sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"},
               {"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"},
               {"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "10000\n"},
               {"sys/fs/cgroup/memory/a/memory.usage_in_bytes", "6000\n"},
               {"sys/fs/cgroup/memory/a/memory.stat", "cache 3000\ninactive_file 1\ntotal_cache 3000\n"
                                                      "total_inactive_file 1000\ntotal_active_file 1500\n"}},
     .cores = 3,
     .memory = 6500},
    {.what = "version 1 without a limit",
     .files = {{"proc/self/cgroup", "4:memory:/\n"},
               {"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"},
               {"sys/fs/cgroup/memory/memory.usage_in_bytes", "6000\n"}},
     .memory = unlimited},
};

static void limits_less_use_at_every_level(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const struct example *example = &examples[i];
        char *root = temporary_directory();
        for (int f = 0; f < MOST_FILES && example->files[f].path != NULL; f++) {
            char *path = path_join(root, example->files[f].path);
            char *folder = path_directory(path);
            struct llm_error err = {0};
            assert_true(directory_create(folder, &err));
            write_file(folder, path_base(path), example->files[f].text, strlen(example->files[f].text));
            free(folder);
            free(path);
        }
        const int cores = cgroup_cores(root);
        const int64_t memory = cgroup_memory(root);
        if (cores != example->cores || memory != example->memory) {
            fail_msg("%s: %d cores and %lld bytes", example->what, cores, (long long)memory);
        }
        directory_remove(root);
        free(root);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_less_use_at_every_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
