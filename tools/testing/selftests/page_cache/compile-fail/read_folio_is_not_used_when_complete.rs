// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn read_folio(
        _mapping: &Mapping<Self>,
        _file: Option<&LocalFile>,
        mut folio: ReadFolio,
    ) -> Result {
        folio.fill().push(b"before");
        folio.complete();
        folio.fill().push(b"after"); //~ error[E0382]
        Ok(())
    }
}
