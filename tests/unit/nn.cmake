# Tests of worker/nn.
foreach(name sparse gemm gemm_faulty loss metrics layers layer_vectors lenet model net residual)
  tw_test(test_${name} unit SOURCES unit/test_${name}.c ROOMS tw_nn LIBRARIES m)
endforeach()

# In double precision: the same sources, compiled again (worker/nn/real.h).
tw_test(test_layer_slopes unit SOURCES unit/test_layer_slopes.c ROOMS tw_nn_double LIBRARIES m)
tw_test(test_layer_vectors_double unit SOURCES unit/test_layer_vectors.c ROOMS tw_nn_double
        LIBRARIES m)

tw_test(test_lenet_double unit SOURCES unit/test_lenet.c ROOMS tw_nn_double LIBRARIES m)
tw_test(test_residual_double unit SOURCES unit/test_residual.c ROOMS tw_nn_double LIBRARIES m)

# That the numbers are still those of torch, where it is installed.
add_test(NAME integration/layer_vectors
         COMMAND /usr/bin/python3 ${CMAKE_CURRENT_LIST_DIR}/../golden/layers/make_vectors.py
                 --check)
set_tests_properties(integration/layer_vectors PROPERTIES LABELS integration TIMEOUT ${TALWEG_TEST_SECONDS}
                                                     SKIP_RETURN_CODE 77)

include(${CMAKE_CURRENT_LIST_DIR}/../lib/kernel_sets.cmake)
# The same bits for every instruction set.
tw_kernel_sets(correlations SOURCES ${PROJECT_SOURCE_DIR}/worker/nn/correlate.c SYMBOLS
               tw_correlate_order tw_correlate tw_correlate_slopes)
tw_test(test_correlate unit SOURCES unit/test_correlate.c ${correlations_objects} ROOMS tw_nn)
