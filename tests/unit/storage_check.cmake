posthouse_unit_test(NAME storage_check
  SOURCES storage/check/check_test.cpp storage/check/bodies_test.cpp storage/check/compacted_test.cpp
          storage/check/files_test.cpp storage/check/salvage_test.cpp
  USES    storage_check storage_upkeep storage_backup admin_transfer)
