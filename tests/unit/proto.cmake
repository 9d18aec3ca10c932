# Tests of proto and of common/net.
set(frame_library lib/frame_recorder.c lib/frame_samples.c)
tw_test(test_frame unit SOURCES unit/test_frame.c ${frame_library} ROOMS tw_proto)
tw_test(test_frame_wrong unit SOURCES unit/test_frame_wrong.c ${frame_library} ROOMS tw_proto)
tw_test(test_order_log unit SOURCES unit/test_order_log.c ROOMS tw_proto LIBRARIES m)
tw_test(test_trace_log unit SOURCES unit/test_trace_log.c ROOMS tw_proto)

set(connection_library lib/connection_pair.c lib/frame_samples.c)
tw_test(test_connection unit SOURCES unit/test_connection.c ${connection_library} ROOMS tw_proto)
tw_test(test_lane unit SOURCES unit/test_lane.c lib/lane_world.c ROOMS tw_proto)
tw_test(test_connection_close unit SOURCES unit/test_connection_close.c ${connection_library}
                                   ROOMS tw_proto)
tw_test(test_address unit SOURCES unit/test_address.c ROOMS tw_net)
tw_test(test_poller unit SOURCES unit/test_poller.c ROOMS tw_net)
tw_test(test_flat unit SOURCES unit/test_flat.c ROOMS tw_proto LIBRARIES protobuf-c)
tw_test(test_send_queue unit SOURCES unit/test_send_queue.c ROOMS tw_proto)
tw_test(test_varint unit SOURCES unit/test_varint.c ROOMS tw_proto)
