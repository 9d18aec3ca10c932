tw_test(test_optimizer_golden unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_optimizer_golden.c ROOMS
        tw_server_core)
tw_test(test_optimizer_forms unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_optimizer_forms.c ROOMS
        tw_server_core)
tw_test(test_layer_wise unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_layer_wise.c ROOMS tw_server_core)
tw_test(test_optimizer_options unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_optimizer_options.c ROOMS
        tw_server_core)

# All rules and their registry once more for one instruction set each, as tensor.cmake
# does it.
include(${CMAKE_CURRENT_LIST_DIR}/../lib/kernel_sets.cmake)
file(GLOB rule_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/server/core/optimizer*.c)
set(rule_symbols
    tw_optimizers tw_optimizer_count tw_optimizer_find
    # of optimizer_moments.c
    tw_eps_at_names tw_eps_at_hat_names tw_bias_names tw_lr_at_names tw_bias_divisor tw_eps_place
    tw_adam_scalars tw_integer_power tw_trust_ratio tw_optimizer_apply_tensor)
foreach(file IN LISTS rule_files)
  get_filename_component(name ${file} NAME_WE)
  list(APPEND rule_symbols tw_${name}) # optimizer_adam.c defines tw_optimizer_adam
endforeach()
tw_kernel_sets(rules SOURCES ${rule_files} SYMBOLS ${rule_symbols})
tw_test(test_optimizer_bits unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_optimizer_bits.c
        ${rules_objects} ROOMS tw_server_core)

# Against torch and the papers; and that the numbers are still those of torch, where it
# is installed.
tw_test(test_optimizer_vectors unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_optimizer_vectors.c ROOMS
        tw_server_core)
add_test(NAME integration/optimizer_vectors
         COMMAND /usr/bin/python3 ${CMAKE_CURRENT_LIST_DIR}/../golden/optimizers/make_vectors.py
                 --check)
set_tests_properties(integration/optimizer_vectors PROPERTIES LABELS integration TIMEOUT ${TALWEG_TEST_SECONDS}
                                                         SKIP_RETURN_CODE 77)
