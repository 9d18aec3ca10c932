tw_test(test_optimizer_golden unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_optimizer_golden.c ROOMS
        tw_server_core)
tw_test(test_optimizer_options unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_optimizer_options.c ROOMS
        tw_server_core)

# The rules once more for one instruction set each, as tensor.cmake does it.
include(${CMAKE_CURRENT_LIST_DIR}/../lib/kernel_sets.cmake)
tw_kernel_sets(
  rules
  SOURCES
  ${PROJECT_SOURCE_DIR}/server/core/optimizer_adam.c
  ${PROJECT_SOURCE_DIR}/server/core/optimizer_momentum.c
  ${PROJECT_SOURCE_DIR}/server/core/optimizer_nesterov.c
  ${PROJECT_SOURCE_DIR}/server/core/optimizer_sgd.c
  SYMBOLS
  tw_optimizer_adam
  tw_optimizer_momentum
  tw_optimizer_nesterov
  tw_optimizer_sgd)
tw_test(test_optimizer_bits unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_optimizer_bits.c
        ${rules_objects} ROOMS tw_server_core)
