// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn free_folio(folio: FreedFolio<'_>) {
        folio.pfn();
        folio.lock(); //~ error[E0599]
    }
}
