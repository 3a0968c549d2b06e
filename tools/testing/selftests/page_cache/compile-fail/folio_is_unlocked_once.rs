// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn read_folio(_mapping: &Mapping<Self>, _file: Option<&LocalFile>, folio: ReadFolio) -> Result {
        folio.complete();
        drop(folio); //~ error[E0382]
        Ok(())
    }
}
