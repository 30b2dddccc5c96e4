-- PLACEHOLDER: dropped at the merge.
SELECT 1;
