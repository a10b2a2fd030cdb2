posthouse_unit_test(NAME admin
  SOURCES admin/cli/dkim_rotation_test.cpp admin/cli/output_test.cpp admin/cli/progress_test.cpp admin/dns/lookup_test.cpp
          admin/dns/records_test.cpp
  USES admin_cli admin_dns test_support)
posthouse_unit_test(NAME admin_reports
  SOURCES admin/reports/tls_report_test.cpp
  USES admin_reports storage)
target_link_libraries(unit_admin_reports PRIVATE Poco::Foundation)
posthouse_unit_test(NAME admin_http
  SOURCES admin/http/failures_test.cpp admin/http/http_test.cpp admin/http/router_test.cpp admin/http/send_test.cpp
  USES admin_http protocols_crypto)
posthouse_unit_test(NAME admin_oidc SOURCES admin/oidc/provider_test.cpp USES admin_oidc)
target_link_libraries(unit_admin_oidc PRIVATE OpenSSL::Crypto)
