// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[allow(dead_code)]
fn keep(_folio: FreedFolio<'static>) {}

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn free_folio(folio: FreedFolio<'_>) {
        folio.index();
        keep(folio); //~ error[E0521]
    }
}
