posthouse_unit_test(NAME server_imap
  SOURCES server/imap/capability_test.cpp server/imap/corpus_test.cpp server/imap/entry_list_test.cpp server/imap/foreign_test.cpp
          server/imap/fetch_cache_test.cpp
          server/imap/hub_test.cpp server/imap/mailbox_cache_test.cpp server/imap/observed_test.cpp
          server/imap/progress_test.cpp server/imap/search_agreement_test.cpp server/imap/selected_test.cpp
          server/imap/reader_test.cpp server/imap/stall_test.cpp
  USES server_imap storage storage_search storage_upkeep protocols_crypto protocols_net protocols_mime test_json)
