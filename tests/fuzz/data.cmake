# Files of data.
tw_fuzz(fuzz_csv SOURCES fuzz/fuzz_csv.c ROOMS tw_data LIBRARIES m)
tw_fuzz(fuzz_libsvm SOURCES fuzz/fuzz_libsvm.c ROOMS tw_data LIBRARIES m)
tw_fuzz(fuzz_npy SOURCES fuzz/fuzz_npy.c ROOMS tw_data)
