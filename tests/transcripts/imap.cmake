# IMAP dialogues over a real store in a temporary directory.
add_executable(imap_runner imap_coverage.cpp imap_runner.cpp)
add_dependencies(tests_fast imap_runner)
add_dependencies(tests_threads imap_runner)
target_link_libraries(imap_runner PRIVATE posthouse_transcripts posthouse_test_json posthouse_server_imap posthouse_storage
  posthouse_protocols_crypto posthouse_protocols_net posthouse_protocols_base)
posthouse_transcripts(imap imap_runner)
# Every command, FETCH item, SEARCH key, STATUS item, capability and hard case has a transcript that names it.
add_test(NAME transcript_imap_coverage COMMAND imap_runner --coverage ${CMAKE_CURRENT_SOURCE_DIR}/imap
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(transcript_imap_coverage PROPERTIES LABELS "fast;transcript;threads")
