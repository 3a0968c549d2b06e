// SPDX-License-Identifier: GPL-2.0
//
// ->free_folio() is told which mapping the folio was in.
//
// Files: \w*free_folio
// Options: --no-includes --max-width 80

virtual patch

@ops@
identifier ops, fn;
@@
 struct address_space_operations ops = {
	.free_folio = fn,
 };

@@
symbol mapping;
identifier ops.fn, fl;
@@
 void fn(
+	struct address_space *mapping,
	struct folio *fl)
 { ... }
