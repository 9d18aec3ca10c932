# Tests of worker/data.
foreach(name augment csv dataset libsvm npy own prepare sampler split synthetic)
  tw_test(test_${name} unit SOURCES unit/test_${name}.c ROOMS tw_data LIBRARIES PkgConfig::ZLIB m)
endforeach()
