posthouse_unit_test(NAME protocols_smtp ONE_THREAD
  SOURCES protocols/smtp/block_list_test.cpp protocols/smtp/path_test.cpp protocols/smtp/wire_test.cpp
  USES protocols_smtp)
posthouse_unit_test(NAME protocols_sasl ONE_THREAD
  SOURCES protocols/sasl/client_test.cpp protocols/sasl/sasl_test.cpp protocols/sasl/scram_test.cpp protocols/sasl/token_test.cpp
  USES protocols_sasl)
