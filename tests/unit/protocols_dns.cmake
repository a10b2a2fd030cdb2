posthouse_unit_test(NAME protocols_dns
  SOURCES protocols/dns/budget_test.cpp protocols/dns/rdata_test.cpp protocols/dns/unbound_test.cpp
  USES protocols_base protocols_net protocols_dns test_support)
