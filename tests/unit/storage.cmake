posthouse_unit_test(NAME storage
  SOURCES storage/account_guard_test.cpp storage/catalog_test.cpp storage/mail_test.cpp storage/mail_bulk_test.cpp storage/annotations_test.cpp storage/shared_mail_test.cpp storage/mailbox_test.cpp storage/queue_test.cpp storage/queue_steps_test.cpp storage/report_test.cpp storage/destinations_test.cpp storage/dmarc_origins_test.cpp
          storage/events_test.cpp storage/migration_test.cpp storage/schema_test.cpp storage/segment_test.cpp storage/store_test.cpp storage/failure_test.cpp
          storage/background_test.cpp storage/checkpointer_test.cpp storage/imports_test.cpp storage/routes_test.cpp storage/lane_limits_test.cpp storage/settings_test.cpp storage/tokens_test.cpp storage/credentials_test.cpp storage/undelete_test.cpp storage/quota_test.cpp
          storage/streams_test.cpp storage/submissions_test.cpp storage/suppression_test.cpp storage/takers_test.cpp storage/transport_test.cpp
  USES    storage)
target_link_libraries(unit_storage PRIVATE ZLIB::ZLIB)
posthouse_unit_test(NAME storage_upkeep SOURCES storage/upkeep_test.cpp USES storage_upkeep storage)
