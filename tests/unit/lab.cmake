# Tests of lab/.
tw_test(test_contour unit SOURCES unit/test_contour.c ROOMS tw_lab LIBRARIES m)
tw_test(test_descent unit SOURCES unit/test_descent.c ROOMS tw_lab LIBRARIES m)
tw_test(test_theory unit SOURCES unit/test_theory.c ROOMS tw_lab LIBRARIES m)
