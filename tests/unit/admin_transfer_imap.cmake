posthouse_unit_test(NAME admin_transfer_imap
  SOURCES admin/transfer_imap/import_test.cpp admin/transfer_imap/plan_test.cpp
  USES admin_transfer_imap test_support)
