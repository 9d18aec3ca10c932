# The job file, and the settings that go into it.
tw_fuzz(fuzz_job SOURCES fuzz/fuzz_job.c ROOMS tw_job LIBRARIES m)
