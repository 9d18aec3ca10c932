# Tests of worker/nn.
foreach(name gemm gemm_faulty loss layers model net)
  tw_test(test_${name} unit SOURCES unit/test_${name}.c ROOMS tw_nn LIBRARIES m)
endforeach()
