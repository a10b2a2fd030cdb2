add_executable(smtp_runner smtp_runner.cpp)
add_dependencies(tests_fast smtp_runner)
add_dependencies(tests_threads smtp_runner)
target_link_libraries(smtp_runner PRIVATE posthouse_flags posthouse_transcripts posthouse_server_delivery
  posthouse_server_smtp posthouse_server_auth posthouse_storage posthouse_protocols_crypto posthouse_protocols_net fmt::fmt)
posthouse_transcripts(smtp smtp_runner)
add_test(NAME transcript_smtp_coverage COMMAND smtp_runner --coverage ${CMAKE_CURRENT_SOURCE_DIR}/smtp
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(transcript_smtp_coverage PROPERTIES LABELS "fast;transcript;threads")
