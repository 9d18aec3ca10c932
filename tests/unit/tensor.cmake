tw_test(test_tensor unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_tensor.c ROOMS tw_tensor)
tw_test(test_layout unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_layout.c ROOMS tw_tensor)

tw_test(test_safetensors_read unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_safetensors_read.c ROOMS
        tw_tensor)

pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
tw_test(test_safetensors unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_safetensors.c ROOMS tw_tensor
        LIBRARIES PkgConfig::JANSSON)

include(${CMAKE_CURRENT_LIST_DIR}/../lib/kernel_sets.cmake)
tw_kernel_sets(sums SOURCES ${PROJECT_SOURCE_DIR}/common/tensor/kernels.c SYMBOLS tw_sum_tree
               tw_divide tw_clamp tw_add_multiple tw_descend tw_multiply tw_average tw_all_finite
               tw_divide tw_clamp tw_add_multiple tw_descend tw_subtract tw_multiply tw_average tw_all_finite
               tw_block_sums_of_squares)
tw_test(test_kernels unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_kernels.c ${sums_objects} ROOMS
        tw_tensor)
tw_kernel_sets(samples SOURCES ${PROJECT_SOURCE_DIR}/common/tensor/sample.c SYMBOLS tw_block_hash
               tw_block_sums_of_squared_changes tw_sample_begin tw_sample_hash tw_sample_gradient
               tw_sample_change tw_sample_merge tw_add_squares tw_tensor_squares_merge
               tw_tensor_squares_ratio)
tw_test(test_sample unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_sample.c ${samples_objects} ROOMS
        tw_tensor LIBRARIES m)

tw_kernel_sets(encodings SOURCES ${PROJECT_SOURCE_DIR}/common/tensor/encoding_bf16.c
               ${PROJECT_SOURCE_DIR}/common/tensor/encoding_f16.c SYMBOLS tw_bf16_encode
               tw_bf16_decode tw_f16_encode tw_f16_decode)
tw_test(test_encoding unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_encoding.c ${encodings_objects}
        ROOMS tw_tensor LIBRARIES m)
