posthouse_unit_test(NAME server_judge
  SOURCES server/judge/alignment_test.cpp server/judge/judge_test.cpp
  USES server_judge test_support test_zone)
