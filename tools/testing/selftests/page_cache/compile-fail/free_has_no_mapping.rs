// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[allow(dead_code)]
fn look_into(_mapping: &Mapping<Case>) {}

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn free_folio(folio: FreedFolio<'_>) {
        let mapping = folio.mapping();
        look_into(&mapping); //~ error[E0308]
        let _ = mapping;
    }
}
