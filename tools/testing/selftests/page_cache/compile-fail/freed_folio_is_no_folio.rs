// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn free_folio(folio: FreedFolio<'_>) {
        let _ = folio.mapping();
        let _: kernel::sync::aref::ARef<Folio> = (&folio).into(); //~ error[E0277]
    }
}
