posthouse_unit_test(NAME server_imap
  SOURCES server/imap/selected_test.cpp server/imap/corpus_test.cpp server/imap/search_agreement_test.cpp
  USES server_imap storage storage_search protocols_crypto protocols_net protocols_mime test_json)
