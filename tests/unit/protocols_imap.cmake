posthouse_unit_test(NAME protocols_imap ONE_THREAD
  SOURCES
    protocols/imap/append_test.cpp
    protocols/imap/client_response_test.cpp
    protocols/imap/grammar_test.cpp
    protocols/imap/modseq_test.cpp
    protocols/imap/program_test.cpp
    protocols/imap/search_return_test.cpp
    protocols/imap/search_source_test.cpp
    protocols/imap/sort_test.cpp
    protocols/imap/thread_test.cpp
  SOURCES protocols/imap/client_response_test.cpp protocols/imap/grammar_test.cpp protocols/imap/list_test.cpp protocols/imap/metadata_test.cpp protocols/imap/program_test.cpp
  USES protocols_imap)
