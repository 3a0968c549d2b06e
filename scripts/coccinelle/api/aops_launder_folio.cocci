// SPDX-License-Identifier: GPL-2.0
//
// ->launder_folio() gets the mapping of the folio from its caller.
//
// Files: \w*launder_folio
// Options: --no-includes --max-width 80

virtual patch

@ops@
identifier ops, fn;
@@
 struct address_space_operations ops = {
	.launder_folio = fn,
 };

@@
symbol mapping;
identifier ops.fn, fl;
@@
 int fn(
+	struct address_space *mapping,
	struct folio *fl)
 { ... }

@@
identifier ops.fn;
@@
 int fn(
+	struct address_space *,
	struct folio *);

// Who has been told the mapping tells it.
@@
identifier ops.fn;
identifier user, m;
expression fl;
@@
 user(..., struct address_space *m, ...)
 {
 <...
-fn(fl)
+fn(m, fl)
 ...>
 }

// Elsewhere the folio is locked, and tells.
@@
identifier ops.fn;
expression fl;
@@
-fn(fl)
+fn(fl->mapping, fl)
