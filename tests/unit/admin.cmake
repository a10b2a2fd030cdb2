posthouse_unit_test(NAME admin
  SOURCES admin/cli/output_test.cpp admin/cli/progress_test.cpp admin/dns/records_test.cpp
  USES admin_cli admin_dns)
