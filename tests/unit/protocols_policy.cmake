posthouse_unit_test(NAME protocols_policy ONE_THREAD
  SOURCES protocols/policy/mta_sts_test.cpp protocols/policy/dane_test.cpp protocols/policy/one_click_test.cpp protocols/policy/tls_report_test.cpp
  USES protocols_policy)
posthouse_unit_test(NAME protocols_http ONE_THREAD
  SOURCES protocols/http/client_test.cpp
  USES protocols_http test_support)
