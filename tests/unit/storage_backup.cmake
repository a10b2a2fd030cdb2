posthouse_unit_test(NAME storage_backup
  SOURCES storage/backup/backup_test.cpp storage/backup/cut_test.cpp storage/backup/format_test.cpp
          storage/backup/records_test.cpp storage/backup/restore_test.cpp
  USES    storage_backup)
