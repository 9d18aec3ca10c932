# Tests of server/io: a server in a child process, peers with a script.
foreach(name server server_end server_hostile server_blocked)
  tw_test(test_${name} integration SOURCES integration/test_${name}.c integration/server_child.c
          integration/scripted_peer.c ROOMS tw_server_io)
endforeach()
tw_test(test_answers integration SOURCES integration/test_answers.c integration/server_child.c
        integration/scripted_peer.c ROOMS tw_server_io tw_worker_io)
tw_test(test_lanes integration SOURCES integration/test_lanes.c integration/server_child.c
        integration/scripted_peer.c ROOMS tw_server_io tw_worker_io)
